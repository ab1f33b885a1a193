//! The thin shell that keeps the kernel equal to the desired [`Image`].

mod error;
mod pins;
mod report;

use std::sync::Arc;

use vnet_gw_core::{compile::Image, model::ResourceId};

pub use self::{error::DatapathError, pins::Instance, report::*};

/// Where a port's program is attached.
///
/// | choice | virtual devices (veth, tun, tap, bridge, …) | physical devices |
/// |---|---|---|
/// | `Auto` | TCX: they carry super-packets and partial checksums, which XDP would have to do without | XDP |
/// | `Xdp` | XDP | XDP |
/// | `Tcx` | TCX | TCX |
///
/// XDP is tried in the driver first; refused there, the generic mode is taken, with a warning. TCX
/// needs kernel 6.6; before, a `clsact` filter takes its place. A physical device is one that has a
/// parent (a PCI, virtio, … device) in the kernel's device tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    #[default]
    Auto,
    Xdp,
    Tcx,
}

/// The data path of one instance: what is pinned in the kernel, and the image it should hold.
///
/// Dropping it changes nothing in the kernel: forwarding goes on.
#[derive(Debug)]
pub struct Datapath {
    instance: Instance,
}

impl Datapath {
    /// Adopts what is pinned for the instance, or creates it. Mounts bpffs where it is not.
    pub fn open(instance: &Instance, _hook: HookChoice) -> Result<Self, DatapathError> {
        Err(DatapathError::Busy { instance: instance.name.clone() })
    }

    /// Reaches `image` with as few changes as possible, new before old. On error the old state
    /// remains in force as far as possible, and the next [`Self::reconcile`] mends the rest.
    pub fn apply(&mut self, _image: Arc<Image>) -> Result<ApplyReport, DatapathError> {
        Err(DatapathError::Busy { instance: self.instance.name.clone() })
    }

    /// Compares whole tables with the image last applied and mends what differs; follows devices
    /// that appeared, vanished, were renamed or got another MTU.
    pub fn reconcile(&mut self) -> Result<Drift, DatapathError> {
        Err(DatapathError::Busy { instance: self.instance.name.clone() })
    }

    pub fn counters(&self) -> Result<Counters, DatapathError> {
        Err(DatapathError::Busy { instance: self.instance.name.clone() })
    }

    /// Every port of the image, ordered by networkInterface.
    pub fn ports(&self) -> Vec<PortStatus> {
        Vec::new()
    }

    /// Traces one packet in `every` of a port, or none.
    pub fn set_trace(
        &mut self,
        nic: &ResourceId,
        _every: Option<u32>,
    ) -> Result<(), DatapathError> {
        Err(DatapathError::NoSuchPort(nic.to_string()))
    }

    /// The ids of the attached programs, for `aya_log::EbpfLogger::init_from_id`: they share one
    /// log.
    pub fn program_ids(&self) -> Vec<u32> {
        Vec::new()
    }

    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}

/// Removes everything of an instance from the kernel. Fine where nothing is there.
pub fn down(instance: &Instance) -> Result<DownReport, DatapathError> {
    Err(DatapathError::Busy { instance: instance.name.clone() })
}
