//! Who comes next: a lane for each caller, so that nobody waits behind another's flood.
//!
//! A caller whose submissions are refused gets fewer places in a batch, down to [`LEAST`], until its
//! submissions hold again: each refusal costs the others a validation.

use std::collections::{BTreeMap, VecDeque};

use super::{Caller, Who, handle::Asked};

/// Places in a batch.
pub(super) const PLACES: usize = 256;
/// The fewest of them for one caller.
const LEAST: usize = 4;
/// What may wait of one caller.
pub(super) const WAITING: usize = 2048;
/// From here on a further refusal changes nothing.
const STRIKES: u32 = 6;

#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: BTreeMap<String, Lane>,
    /// Served last.
    last: String,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Asked>,
    strikes: u32,
}

/// What is tried next, in two groups: a submission of a caller that is doubted costs nobody else a
/// second validation.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) trusted: Vec<Asked>,
    pub(super) doubted: Vec<Asked>,
}

impl Queue {
    /// The submission back, where too many of its caller wait.
    pub(super) fn push(&mut self, asked: Asked) -> Option<Asked> {
        let lane = self
            .lanes
            .entry(name(&asked.submission.caller))
            .or_default();
        match lane.waiting.len() {
            WAITING.. => Some(asked),
            _ => {
                lane.waiting.push_back(asked);
                None
            }
        }
    }

    /// What was taken and not tried: first of its lane the next time.
    pub(super) fn put_back(&mut self, asked: Vec<Asked>) {
        for asked in asked.into_iter().rev() {
            let lane = self
                .lanes
                .entry(name(&asked.submission.caller))
                .or_default();
            lane.waiting.push_front(asked);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.values().all(|lane| lane.waiting.is_empty())
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }

    pub(super) fn take(&mut self) -> Taken {
        let mut taken = Taken::default();
        let mut order: Vec<String> = self.lanes.keys().cloned().collect();
        // Who was served last comes last.
        let after = order.partition_point(|lane| *lane <= self.last);
        order.rotate_left(after);
        let mut shares: Vec<Share> = order
            .into_iter()
            .map(|name| {
                let strikes = self.lanes.get(&name).map_or(0, |lane| lane.strikes);
                let left = (PLACES >> strikes).max(LEAST);
                Share {
                    name,
                    left,
                    served: false,
                }
            })
            .collect();
        let mut places = PLACES;
        let mut more = true;
        while more {
            more = false;
            for share in &mut shares {
                let Some(lane) = self.lanes.get_mut(&share.name) else {
                    continue;
                };
                if share.left == 0 || places == 0 {
                    continue;
                }
                let Some(asked) = lane.waiting.pop_front() else {
                    continue;
                };
                match lane.strikes {
                    0 => taken.trusted.push(asked),
                    _ => taken.doubted.push(asked),
                }
                share.left -= 1;
                share.served = true;
                places -= 1;
                more = true;
                self.last.clone_from(&share.name);
            }
        }
        // Who asks for nothing is forgiven in time, and forgotten.
        for share in shares.iter().filter(|share| !share.served) {
            if let Some(lane) = self.lanes.get_mut(&share.name) {
                lane.strikes = lane.strikes.saturating_sub(1);
            }
        }
        self.lanes
            .retain(|_, lane| !lane.waiting.is_empty() || lane.strikes > 0);
        taken
    }

    /// What became of a submission of that caller.
    pub(super) fn judge(&mut self, caller: &Caller, held: bool) {
        let name = name(caller);
        match held {
            true => {
                if let Some(lane) = self.lanes.get_mut(&name) {
                    lane.strikes = lane.strikes.saturating_sub(1);
                }
            }
            false => {
                let lane = self.lanes.entry(name).or_default();
                lane.strikes = (lane.strikes + 1).min(STRIKES);
            }
        }
    }
}

struct Share {
    name: String,
    left: usize,
    served: bool,
}

impl Taken {
    pub(super) fn is_empty(&self) -> bool {
        self.trusted.is_empty() && self.doubted.is_empty()
    }
}

/// The connections of one address are one caller's.
fn name(caller: &Caller) -> String {
    let who = match &caller.who {
        Who::File => "file".to_owned(),
        Who::User { uid, .. } => format!("user {uid}"),
        Who::Principal { client_id, .. } => format!("principal {client_id}"),
    };
    match caller.address {
        Some(address) => format!("{who} {}", address.ip()),
        None => who,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::engine::Submission;

    fn caller(name: &str) -> Caller {
        Caller {
            who: Who::Principal {
                client_id: name.to_owned(),
                name: String::new(),
            },
            address: Some("192.0.2.1:9".parse().unwrap()),
            correlation_id: String::new(),
        }
    }

    fn asked(name: &str, number: usize) -> Asked {
        Asked {
            submission: Submission {
                changes: Vec::new(),
                caller: caller(name),
                operation: String::new(),
                resource: format!("{name}{number}"),
                records: Vec::new(),
                noted: crate::engine::Noted::default(),
            },
            answer: oneshot::channel().0,
        }
    }

    fn names(asked: &[Asked]) -> Vec<&str> {
        let resources = asked.iter().map(|asked| asked.submission.resource.as_str());
        resources.collect()
    }

    fn queue(callers: &[(&str, usize)]) -> Queue {
        let mut queue = Queue::default();
        for (name, count) in callers {
            for number in 0..*count {
                assert!(queue.push(asked(name, number)).is_none());
            }
        }
        queue
    }

    #[test]
    fn a_flood_does_not_keep_others_waiting() {
        let mut queue = queue(&[("a", 1000), ("b", 2)]);
        let taken = queue.take();
        assert_eq!(taken.trusted.len(), PLACES);
        assert_eq!(names(&taken.trusted)[..5], ["a0", "b0", "a1", "b1", "a2"]);
        let mut all = 0;
        while !queue.is_empty() {
            all += queue.take().trusted.len();
        }
        assert_eq!(all, 1002 - PLACES);
    }

    #[test]
    fn callers_take_turns_where_there_are_more_than_places() {
        let names: Vec<String> = (0..PLACES + 10).map(|n| format!("{n:04}")).collect();
        let callers: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 3)).collect();
        let mut queue = queue(&callers);
        queue.take();
        let second = queue.take();
        let first: Vec<&str> = second.trusted[..10]
            .iter()
            .map(|asked| asked.submission.resource.as_str())
            .collect();
        assert_eq!(first[0], format!("{PLACES:04}0"));
    }

    #[test]
    fn who_is_refused_again_and_again_gets_few_places_until_it_holds() {
        let mut queue = queue(&[("bad", 2000), ("good", 500)]);
        for _ in 0..9 {
            queue.judge(&caller("bad"), false);
        }
        let taken = queue.take();
        assert_eq!(taken.doubted.len(), LEAST);
        assert_eq!(taken.trusted.len(), PLACES - LEAST);
        for _ in 0..STRIKES {
            queue.judge(&caller("bad"), true);
        }
        let taken = queue.take();
        assert!(taken.doubted.is_empty());
        assert_eq!(taken.trusted.len(), PLACES);
        // Whoever is quiet is forgotten in the end.
        queue.judge(&caller("other"), false);
        while !queue.is_empty() {
            queue.take();
        }
        for _ in 0..STRIKES {
            queue.take();
        }
        assert!(queue.lanes.is_empty());
    }

    #[test]
    fn what_was_not_tried_is_the_next_of_its_caller() {
        let mut queue = queue(&[("a", 3)]);
        let taken = queue.take();
        queue.push(asked("a", 3));
        queue.put_back(taken.trusted);
        assert_eq!(names(&queue.take().trusted), ["a0", "a1", "a2", "a3"]);
    }

    #[test]
    fn too_much_of_one_caller_is_told() {
        let mut queue = queue(&[("a", WAITING)]);
        assert!(queue.push(asked("a", 0)).is_some());
        assert!(queue.push(asked("b", 0)).is_none());
    }
}
