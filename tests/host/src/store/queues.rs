//! Shared queues as Envoy has them.

use std::collections::{BTreeMap, VecDeque};

/// A VM's root context that is told of new items: the one that registered the queue last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) vm: u32,
    pub(crate) context: u32,
}

#[derive(Debug)]
struct Queue {
    items: VecDeque<Vec<u8>>,
    listener: Listener,
}

/// Queues by token, counted from 1.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    tokens: BTreeMap<(String, Vec<u8>), u32>,
    queues: Vec<Queue>,
}

impl Queues {
    /// The token of a queue, which is made if there is none. What it holds stays.
    pub(crate) fn register(&mut self, vm_id: &str, name: &[u8], listener: Listener) -> u32 {
        if let Some(token) = self.resolve(vm_id, name) {
            if let Some(queue) = self.queue(token) {
                queue.listener = listener;
            }
            return token;
        }
        self.queues.push(Queue { items: VecDeque::new(), listener });
        let token = u32::try_from(self.queues.len()).unwrap_or(u32::MAX);
        self.tokens.insert((vm_id.to_owned(), name.to_vec()), token);
        token
    }

    pub(crate) fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        self.tokens.get(&(vm_id.to_owned(), name.to_vec())).copied()
    }

    /// Who is to be told; `None` where there is no such queue.
    pub(crate) fn enqueue(&mut self, token: u32, item: &[u8]) -> Option<Listener> {
        let queue = self.queue(token)?;
        queue.items.push_back(item.to_vec());
        Some(queue.listener)
    }

    /// `None` where there is no such queue, `Some(None)` where it is empty.
    #[expect(clippy::option_option, reason = "two different absences")]
    pub(crate) fn dequeue(&mut self, token: u32) -> Option<Option<Vec<u8>>> {
        Some(self.queue(token)?.items.pop_front())
    }

    pub(crate) fn items(&self, vm_id: &str, name: &[u8]) -> Option<Vec<Vec<u8>>> {
        let index = usize::try_from(self.resolve(vm_id, name)? - 1).ok()?;
        Some(self.queues.get(index)?.items.iter().cloned().collect())
    }

    fn queue(&mut self, token: u32) -> Option<&mut Queue> {
        self.queues.get_mut(usize::try_from(token.checked_sub(1)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Listener, Queues};

    #[test]
    fn the_last_to_register_is_told_and_items_stay() {
        let (first, second) = (Listener { vm: 0, context: 1 }, Listener { vm: 1, context: 1 });
        let mut queues = Queues::default();
        let token = queues.register("", b"q", first);
        assert_eq!(queues.enqueue(token, b"1"), Some(first));
        assert_eq!(queues.register("", b"q", second), token);
        assert_eq!(queues.enqueue(token, b"2"), Some(second));
        assert_eq!(queues.items("", b"q"), Some(vec![b"1".to_vec(), b"2".to_vec()]));
        assert_eq!(queues.dequeue(token), Some(Some(b"1".to_vec())));
        assert_eq!(queues.dequeue(token), Some(Some(b"2".to_vec())));
        assert_eq!(queues.dequeue(token), Some(None));
    }

    #[test]
    fn what_is_not_registered_is_not_there() {
        let mut queues = Queues::default();
        queues.register("a", b"q", Listener { vm: 0, context: 1 });
        assert_eq!(queues.resolve("b", b"q"), None);
        assert_eq!(
            (queues.dequeue(0), queues.dequeue(2), queues.enqueue(2, b"")),
            (None, None, None)
        );
    }
}
