//! What becomes of a packet, and why: the questions of Azure's Network Watcher.
//!
//! A [`Predictor`] walks a packet through the resources as the data path would take it: the source
//! NIC's effective routes, the next hop, network security groups at both ends, appliances that
//! forward, peerings with their flags, gateways. A pure function of the topology, and no reading of the tables that were made of it:
//! the prediction and the data path are two ways from the same rules, which tests hold against each
//! other.

mod checkpoint;
mod connectivity;
mod loops;
mod machine;
mod next_hop;
mod packet;
mod path;
mod predictor;
mod probed;
#[cfg(test)]
mod tests;
mod topology;
mod walk;
mod why;

pub use checkpoint::{Checkpoint, Decision};
pub use connectivity::{Connectivity, Hop, HopKind, Issue, IssueKind, Status, connectivity};
pub use loops::RouteLoop;
pub use machine::{Machine, machine, machine_of, machines};
pub use next_hop::next_hop;
pub use packet::Packet;
pub use path::{Because, DropReason, Dropped, Element, Next, Outcome, Path, RouteBy, Step, Taken};
pub use predictor::{InternetPort, Predictor};
pub use topology::{Extent, TopologyResource, topology_view};
pub use walk::{RoundTrip, Source};
pub use why::{Arrives, Fares, Unknown, Way, What, Why, WhyOutcome, WhyStep, why};
