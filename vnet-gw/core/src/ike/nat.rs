//! Address translators between the peers (RFC 7296, 2.23).

use super::{
    EncapsulationChoice,
    codec::{Notify, NotifyType, Payload},
    context::{Context, Path},
    keys::nat_detection_hash,
};
use crate::sa::Encapsulation;

/// What the two detection notifications told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nat {
    /// The peer knows of NAT traversal.
    pub(super) supported: bool,
    /// We are behind one.
    pub(super) local: bool,
    /// The peer is, or wants us to think so.
    pub(super) remote: bool,
    /// We want the peer to think that we are.
    pub(super) forced: bool,
}

impl Nat {
    /// From the notifications of the peer's IKE_SA_INIT message, that came by `path`.
    pub(super) fn detect(
        choice: EncapsulationChoice,
        payloads: &[Payload],
        spis: (u64, u64),
        path: Path,
    ) -> Self {
        let data = |kind| {
            payloads.iter().filter_map(move |payload| match payload {
                Payload::Notify(notify) if notify.kind == kind => Some(notify.data.as_slice()),
                _ => None,
            })
        };
        let mut sources = data(NotifyType::NAT_DETECTION_SOURCE_IP).peekable();
        let mut destinations = data(NotifyType::NAT_DETECTION_DESTINATION_IP).peekable();
        if sources.peek().is_none() || destinations.peek().is_none() {
            return Self::default();
        }
        let remote = nat_detection_hash(spis.0, spis.1, path.remote);
        let local = nat_detection_hash(spis.0, spis.1, path.local);
        Self {
            supported: true,
            local: !destinations.any(|hash| hash == local),
            // A host of several addresses sends a hash of each.
            remote: !sources.any(|hash| hash == remote),
            forced: choice == EncapsulationChoice::Udp,
        }
    }

    /// ESP and IKE go in UDP on port 4500.
    pub(super) fn floats(self) -> bool {
        self.supported && (self.local || self.remote || self.forced)
    }

    /// The peer may move, and we do not.
    pub(super) fn follow(self) -> bool {
        self.supported && self.remote && !self.local
    }

    pub(super) fn encapsulation(self, path: Path) -> Encapsulation {
        if self.floats() && path.floated() {
            Encapsulation::Udp {
                local: path.local,
                remote: path.remote,
            }
        } else {
            Encapsulation::Esp {
                local: path.local.ip(),
                remote: path.remote.ip(),
            }
        }
    }
}

/// Our two detection notifications. To be sent ESP in UDP where there is no NAT, we show one: a
/// hash that is nobody's.
pub(super) fn notifications(
    cx: &mut Context,
    choice: EncapsulationChoice,
    spis: (u64, u64),
    path: Path,
) -> [Payload; 2] {
    let source = match choice {
        EncapsulationChoice::Udp => cx.bytes::<20>().to_vec(),
        EncapsulationChoice::ByNat => nat_detection_hash(spis.0, spis.1, path.local).to_vec(),
    };
    let destination = nat_detection_hash(spis.0, spis.1, path.remote).to_vec();
    [
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, source)),
        Payload::Notify(Notify::new(
            NotifyType::NAT_DETECTION_DESTINATION_IP,
            destination,
        )),
    ]
}
