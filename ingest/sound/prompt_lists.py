"""Which prompts a call may play, and where on the log their sound lies. Pure: a fold of
`prompts`."""

from schemas.events import PromptList, PromptRef


class PromptMissing(Exception):
    """There is no such prompt, or it is no usable sound; the text says which."""


class PromptLists:
    """The newest list of every playbook's version and voice."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, str, str], PromptList] = {}
        self._refs: dict[str, PromptRef] = {}

    def evolve(self, event: PromptList) -> None:
        """Takes the next record."""
        self._lists[event.playbook, event.version, event.voice] = event
        self._refs.update((ref.name, ref) for ref in event.prompts)

    def of(self, playbook: str | None, version: str | None, voice: str) -> list[PromptRef]:
        """All prompts of a call; none where nobody has listed the playbook's. Raises PromptMissing
        where they are listed, but not in this voice."""
        key = playbook or "", version or ""
        found = self._lists.get((*key, voice))
        if found is not None:
            return found.prompts
        if (*key, "") in self._lists:
            raise PromptMissing(f"{'@'.join(key)} has no prompts in the voice {voice}")
        return []

    def ref(self, name: str) -> PromptRef | None:
        """Where the sound of that name lies."""
        return self._refs.get(name)
