"""The embedded NVIDIA Triton server: installation, process, supervision, model configurations.

``python -m deploy.triton.install`` installs it, ``python -m deploy.triton.server`` runs it. This
package imports only the standard library; :mod:`deploy.triton.model_config` needs tritonclient.
"""

from deploy.triton.installation import Installation, TritonNotInstalledError
from deploy.triton.process import Ports, ServerOptions, TritonServer, TritonStartError

__all__ = [
    "Installation",
    "Ports",
    "ServerOptions",
    "TritonNotInstalledError",
    "TritonServer",
    "TritonStartError",
]
