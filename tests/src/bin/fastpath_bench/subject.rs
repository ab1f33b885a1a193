//! What forwards between A and B.

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use nix::net::if_::if_nametoindex;
use vnet_gw::datapath::HookChoice;
use vnet_gw_lab::Lab;

use crate::{
    names,
    object::Object,
    ours::Ours,
    routes::Set,
    wire::{DEV_GA, DEV_GB, Wire},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// `ip_forward` with the same routes, GRO on.
    Kernel,
    /// A devmap redirect that rewrites MAC addresses and looks at nothing: the ceiling.
    Bare,
    /// The data path at the XDP hook.
    Xdp,
    /// The data path at the TCX hook.
    Tcx,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Bare => "bare",
            Self::Xdp => "xdp",
            Self::Tcx => "tcx",
        }
    }

    /// Whether it owes a TTL less one.
    pub(crate) const fn routes(self) -> bool {
        !matches!(self, Self::Bare)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A wire with a subject on it.
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    pub(crate) wire: Wire,
    /// Generator, receiver and, for [`Kind::Bare`], the subject itself.
    pub(crate) object: Object,
    _ours: Option<Ours>,
}

impl Subject {
    pub(crate) fn new(lab: &Lab, prefix: &str, kind: Kind, set: &Set) -> Result<Self> {
        let wire = Wire::new(lab, &format!("{prefix}-{kind}"))?;
        let mut object = Object::load()?;
        let mut ours = None;
        match kind {
            Kind::Kernel => wire.route_by_kernel(set)?,
            Kind::Bare => {
                let to = wire.gateway.enter(|| if_nametoindex(DEV_GB))??;
                let map = object.map(names::OUT)?;
                wire.gateway.enter(|| -> Result<()> {
                    let mut map: aya::maps::xdp::DevMap<_> = map.try_into()?;
                    Ok(map.set(0, to, None, 0)?)
                })??;
                object.attach_xdp("bench_bare", &wire.gateway, DEV_GA)?;
            }
            Kind::Xdp => ours = Some(Ours::new(lab, &wire, set, HookChoice::Xdp)?),
            Kind::Tcx => ours = Some(Ours::new(lab, &wire, set, HookChoice::Tcx)?),
        }
        Ok(Self {
            kind,
            wire,
            object,
            _ours: ours,
        })
    }
}
