//! What both ends must have come to.

use vnet_gw_core::ike::{IkeSaStatus, TunnelState};

use crate::{scenario::Link, world::World};

impl World {
    /// Both ends of every tunnel agree.
    pub(crate) fn agreed(&self) -> bool {
        let links = &self.scenario.links;
        links.iter().all(|link| self.disagreement(link).is_none())
    }

    /// Asserts it, and says what is wrong.
    pub(crate) fn assert_agreed(&self, when: &str) {
        for link in &self.scenario.links {
            if let Some(disagreement) = self.disagreement(link) {
                let statuses = link.hosts.map(|host| self.statuses(host, link));
                panic!("{when}: {disagreement}\n{statuses:#?}");
            }
        }
    }

    pub(crate) fn statuses(&self, host: usize, link: &Link) -> Vec<IkeSaStatus> {
        let mut statuses = self.hosts[host].endpoint.status(self.now);
        statuses.retain(|status| status.tunnel == link.id);
        statuses
    }

    fn disagreement(&self, link: &Link) -> Option<String> {
        let statuses = link.hosts.map(|host| self.statuses(host, link));
        let [a, b] = match &statuses {
            [a, b] if a.len() == 1 && b.len() == 1 => [&a[0], &b[0]],
            [a, b] => return Some(format!("{} and {} IKE SAs", a.len(), b.len())),
        };
        if !link.can_connect() {
            return self.apart(link, [a, b]);
        }
        let workers = link.hosts.map(|host| &self.hosts[host].worker);
        for (status, worker) in [a, b].into_iter().zip(workers) {
            let told = worker.tunnels.get(&link.id);
            let Some(told) = told.filter(|told| told.state == TunnelState::Connected) else {
                return Some("an end was not told that it is connected".to_owned());
            };
            if status.state != TunnelState::Connected || told.unusable {
                return Some(format!("unusable: {}, {}", told.unusable, status.reason.0));
            }
            if status.children.len() != 1 {
                return Some(format!("{} pairs", status.children.len()));
            }
            if worker.only_pair(link.id) != Some(status.children[0].inbound) {
                return Some("the worker sends on another pair".to_owned());
            }
        }
        let (of_a, of_b) = (&a.children[0], &b.children[0]);
        let same = [
            (a.initiator_spi, a.responder_spi) == (b.initiator_spi, b.responder_spi),
            a.initiator != b.initiator,
            a.proposal == b.proposal,
            a.post_quantum == b.post_quantum,
            (of_a.inbound, of_a.outbound) == (of_b.outbound, of_b.inbound),
            of_a.proposal.suite == of_b.proposal.suite,
            of_a.esn == of_b.esn,
            of_a.local_selectors == of_b.remote_selectors,
            of_a.remote_selectors == of_b.local_selectors,
        ];
        if same.contains(&false) {
            return Some(format!("the ends differ: {same:?}"));
        }
        None
    }

    fn apart(&self, link: &Link, statuses: [&IkeSaStatus; 2]) -> Option<String> {
        let connected = |status: &IkeSaStatus| status.state == TunnelState::Connected;
        let empty = |host: &usize| self.hosts[*host].worker.is_empty(link.id);
        if statuses.into_iter().any(connected) || !link.hosts.iter().all(empty) {
            return Some("connected, though nobody begins or nobody answers".to_owned());
        }
        None
    }
}
