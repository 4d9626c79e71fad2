"""Every option at its default. A data set's config edits this one.

Each option is declared where it is read, with its unit and reason; dtn_jax/config/sections.py says
who owns which section. To read them:

    dtn-jax train --help=all            # or one section: --help=model.dtn
"""

from dtn_jax.config.sections import base_config as get_config

__all__ = ["get_config"]
