"""KuaiRand: click → long view and other feedback."""
