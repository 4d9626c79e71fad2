"""Public sets that a schema file describes, shipped beside this one."""
