"""Environment of the services: the same settings for all, wherever they came from."""

import os
import sys
from pathlib import Path

from pydantic import SecretStr

from ringlog import jvm
from ringlog.settings import Settings, root


def as_variables(settings: Settings) -> dict[str, str]:
    """`RINGLOG_*` variables that make an equal Settings in another process."""
    variables = {"RINGLOG_HOME": str(settings.home.absolute())}
    for name in sorted(settings.model_fields_set - {"home"}):
        value = getattr(settings, name)
        if value is None:
            continue
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        variables[f"RINGLOG_{name.upper()}"] = text
    return variables


def of_services(settings: Settings) -> dict[str, str]:
    """The whole environment: this process's, our settings, Java, and the interpreter's folder.

    Our own packages come before whatever PYTHONPATH names. PyFlink finds its Python helpers on PATH
    only, and its Java by JAVA_HOME.
    """
    java_home = Path(jvm.JAVA).parent.parent
    bin_folder = str(Path(sys.executable).parent)
    inherited_path = os.environ.get("PATH", os.defpath)
    python_path = [str(root()), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **os.environ,
        **as_variables(settings),
        "JAVA_HOME": str(java_home),
        "PATH": os.pathsep.join([bin_folder, str(java_home / "bin"), inherited_path]),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(python_path)),
        "PYTHONUNBUFFERED": "1",
    }
