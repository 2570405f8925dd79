"""A pool's open tasks, by everything that they are looked up by."""

from streams.dispatch.state import Index
from streams.dispatch.task import Task


class Book:
    """`tasks` by id and `by_seq` by order of arrival; `next_seq` is the next one's."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.by_seq: dict[int, Task] = {}
        self.next_seq = 0
        self._by_call: dict[str, Task] = {}
        self._by_customer = Index()
        self._by_phone = Index()

    def put(self, task: Task) -> None:
        """Takes in a task."""
        self.tasks[task.task_id] = self.by_seq[task.seq] = task
        self._by_customer.add(task.customer_id, task.task_id)
        self._by_phone.add(task.phone_hash, task.task_id)
        if task.call_id is not None:
            self._by_call[task.call_id] = task

    def drop(self, task: Task) -> None:
        """Forgets a task."""
        del self.tasks[task.task_id], self.by_seq[task.seq]
        self._by_customer.discard(task.customer_id, task.task_id)
        self._by_phone.discard(task.phone_hash, task.task_id)
        self.unbind(task)

    def bind(self, task: Task, call_id: str) -> None:
        """The task has a call."""
        task.call_id = call_id
        self._by_call[call_id] = task

    def unbind(self, task: Task) -> None:
        """The task's call is over."""
        if task.call_id is not None:
            self._by_call.pop(task.call_id, None)

    def of_call(self, call_id: str | None) -> Task | None:
        """The task whose call it is."""
        return self._by_call.get(call_id or "")

    def of_customer(self, customer_id: str | None) -> list[Task]:
        """A customer's tasks."""
        return [self.tasks[task_id] for task_id in self._by_customer.of(customer_id)]

    def of_phone(self, phone_hash: str | None) -> list[Task]:
        """A number's tasks."""
        return [self.tasks[task_id] for task_id in self._by_phone.of(phone_hash)]
