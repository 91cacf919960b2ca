"""Extension of griffe for the reference: a signature with ``**kwargs`` shows the arguments of our base classes too."""

from __future__ import annotations

from typing import Any

import griffe


class InheritedArguments(griffe.Extension):  # type: ignore[misc]
    """Completes the constructors of operators, sensors and hooks, which hand on what they do not know themselves."""

    def on_package(self, *, pkg: griffe.Module, loader: Any, **_: Any) -> None:
        """Complete each class of a package that has been read."""
        self._complete(pkg)

    def _complete(self, scope: Any) -> None:
        for member in scope.members.values():
            if member.is_alias:
                continue
            if member.is_module:
                self._complete(member)
            elif member.is_class and "__init__" in member.members:
                _add_inherited(member)


def _add_inherited(cls: Any) -> None:
    parameters = cls.members["__init__"].parameters
    if "kwargs" not in parameters:
        return
    rest = parameters["kwargs"]
    del parameters["kwargs"]
    for base in cls.mro():
        if "__init__" in base.members:
            for parameter in base.members["__init__"].parameters:
                if parameter.kind is griffe.ParameterKind.keyword_only and parameter.name not in parameters:
                    parameters.add(parameter)
    parameters.add(rest)
