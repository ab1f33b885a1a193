//! What live probes add to a connectivity check.

use std::{net::IpAddr, time::Duration};

use vnet_gw_common::verdict::Reason;

use super::connectivity::{Connectivity, Issue, IssueKind, Origin, Severity, Status, pair};
use crate::probe::{Answer, Outcome, Statistics};

impl Connectivity {
    /// Adds what live probes to `to` came to, which counts for more than what the resources say.
    /// Where none was answered, and nothing that is known explains it, the first says why.
    pub fn probed(&mut self, to: IpAddr, outcomes: &[Outcome]) {
        let Some(first) = outcomes.first() else {
            return;
        };
        let found = Statistics::of(outcomes);
        self.probes_sent = Some(found.sent.into());
        self.probes_failed = Some(found.failed.into());
        self.min_latency_in_ms = found.least.map(milliseconds);
        self.avg_latency_in_ms = found.average().map(milliseconds);
        self.max_latency_in_ms = found.most.map(milliseconds);
        let predicted = self.connection_status;
        self.connection_status = match found.failed {
            0 => Status::Connected,
            failed if failed < found.sent => Status::Degraded,
            _ => Status::Disconnected,
        };
        let mut issues = self.hops.iter_mut().flat_map(|hop| &mut hop.issues);
        if self.connection_status != Status::Disconnected {
            // What was held against the path does not keep it from working.
            issues.for_each(|issue| issue.severity = Severity::Warning);
            return;
        }
        if issues.next().is_none()
            && let Some(issue) = issue(predicted, to, first)
            && let Some(last) = self.hops.last_mut()
        {
            last.issues.push(issue);
        }
    }
}

/// As the API has latencies: whole ones, to the nearest.
fn milliseconds(time: Duration) -> u64 {
    let nearest = time.saturating_add(Duration::from_micros(500));
    u64::try_from(nearest.as_millis()).unwrap_or(u64::MAX)
}

/// Why a probe failed on a path that should carry it. Of one that leaves what is known here and is
/// lost, there is no telling.
fn issue(predicted: Status, to: IpAddr, outcome: &Outcome) -> Option<Issue> {
    let guest = (Origin::Local, IssueKind::GuestFirewall);
    let platform = (Origin::Outbound, IssueKind::Platform);
    let ((origin, kind), reason) = match *outcome {
        Outcome::Answered { answer, .. } => match answer {
            Answer::Reply => return None,
            Answer::Refused => (guest, "ConnectionRefused".to_owned()),
            Answer::Error { from, kind, code } => {
                let who = if from == to { guest } else { platform };
                (who, format!("ICMP type {kind}, code {code}, from {from}"))
            }
        },
        Outcome::Dropped { reason } => {
            let known = Reason::ALL.iter().find(|one| **one as u32 == reason);
            let name = known.map_or("dropped", |reason| reason.name());
            (platform, name.to_owned())
        }
        Outcome::Lost if predicted == Status::Connected => (guest, "NoAnswer".to_owned()),
        Outcome::Lost => return None,
    };
    Some(Issue {
        origin,
        severity: Severity::Error,
        kind,
        context: vec![pair("Reason", &reason)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watcher::{Hop, HopKind};

    const TO: &str = "10.0.0.5";

    fn check(status: Status) -> Connectivity {
        let hop = |kind| Hop {
            kind,
            id: String::new(),
            address: None,
            resource_id: None,
            next_hop_ids: Vec::new(),
            previous_hop_ids: Vec::new(),
            issues: Vec::new(),
        };
        Connectivity {
            hops: vec![hop(HopKind::Source), hop(HopKind::VirtualMachine)],
            connection_status: status,
            avg_latency_in_ms: None,
            min_latency_in_ms: None,
            max_latency_in_ms: None,
            probes_sent: None,
            probes_failed: None,
        }
    }

    fn answered(answer: Answer, micros: u64) -> Outcome {
        let after = Duration::from_micros(micros);
        Outcome::Answered { answer, after }
    }

    fn probed(status: Status, outcomes: &[Outcome]) -> Connectivity {
        let mut check = check(status);
        check.probed(TO.parse().unwrap(), outcomes);
        check
    }

    #[test]
    fn latencies_are_of_what_was_answered() {
        let found = [
            answered(Answer::Reply, 1_400),
            Outcome::Lost,
            answered(Answer::Reply, 2_500),
            answered(Answer::Refused, 90_000),
        ];
        let found = probed(Status::Connected, &found);
        assert_eq!(found.connection_status, Status::Degraded);
        let latencies = [
            found.min_latency_in_ms,
            found.avg_latency_in_ms,
            found.max_latency_in_ms,
        ];
        assert_eq!(latencies, [Some(1), Some(2), Some(3)]);
        assert_eq!((found.probes_sent, found.probes_failed), (Some(4), Some(2)));
        assert!(found.hops[1].issues.is_empty());

        // Nothing sent is nothing said.
        assert_eq!(probed(Status::Unknown, &[]), check(Status::Unknown));
    }

    #[test]
    fn what_none_answers_has_an_issue_where_there_is_a_reason() {
        let error = |from: &str| {
            let from = from.parse().unwrap();
            let (kind, code) = (3, 3);
            answered(Answer::Error { from, kind, code }, 100)
        };
        let dropped = Outcome::Dropped {
            reason: Reason::PortDown as u32,
        };
        for (outcome, kind, reason) in [
            (
                answered(Answer::Refused, 100),
                IssueKind::GuestFirewall,
                "ConnectionRefused",
            ),
            (Outcome::Lost, IssueKind::GuestFirewall, "NoAnswer"),
            (dropped, IssueKind::Platform, "port_down"),
            (
                error(TO),
                IssueKind::GuestFirewall,
                "ICMP type 3, code 3, from 10.0.0.5",
            ),
            (
                error("10.0.0.1"),
                IssueKind::Platform,
                "ICMP type 3, code 3, from 10.0.0.1",
            ),
        ] {
            let found = probed(Status::Connected, &[outcome, outcome]);
            assert_eq!(found.connection_status, Status::Disconnected);
            assert_eq!(found.min_latency_in_ms, None, "{outcome:?}");
            assert_eq!(found.probes_failed, Some(2));
            let [issue] = found.hops[1].issues.as_slice() else {
                panic!("{found:?}");
            };
            assert_eq!(issue.kind, kind);
            assert_eq!(issue.context, [pair("Reason", reason)]);
        }
        // Lost beyond what is known here: nobody knows where.
        let found = probed(Status::Unknown, &[Outcome::Lost]);
        assert_eq!(found.connection_status, Status::Disconnected);
        assert!(found.hops[1].issues.is_empty());
    }

    #[test]
    fn what_is_explained_already_is_not_explained_again() {
        let mut check = check(Status::Disconnected);
        let issue = Issue {
            origin: Origin::Inbound,
            severity: Severity::Error,
            kind: IssueKind::NetworkSecurityRule,
            context: Vec::new(),
        };
        check.hops[1].issues.push(issue.clone());
        let mut passed = check.clone();
        let dropped = Outcome::Dropped {
            reason: Reason::NsgInbound as u32,
        };
        check.probed(TO.parse().unwrap(), &[dropped]);
        assert_eq!(check.hops[1].issues, [issue]);
        assert_eq!(check.connection_status, Status::Disconnected);

        passed.probed(TO.parse().unwrap(), &[answered(Answer::Reply, 100)]);
        assert_eq!(passed.connection_status, Status::Connected);
        assert_eq!(passed.hops[1].issues[0].severity, Severity::Warning);
    }
}
