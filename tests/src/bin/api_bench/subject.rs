//! The daemon that is measured, and how it is reached.

use anyhow::Result;
use vnet_gw_lab::{Lab, Netns};
use vnet_gw_tests::{api_bed::ApiBed, http::Server};

use crate::options::Options;

/// NICs that have a device, the first ones: what is written of them and of their subnets' route
/// tables changes what the kernel holds.
pub(crate) const PORTS: usize = 100;

pub(crate) struct Subject(ApiBed);

/// Of the NIC of that number.
pub(crate) fn device(n: usize) -> String {
    format!("port{n}")
}

impl Subject {
    pub(crate) fn start(lab: &Lab, options: &Options) -> Result<Self> {
        let bed = ApiBed::start(lab, &options.daemon, "api")?;
        let workloads = lab.namespace("workloads")?;
        for n in 0..PORTS {
            let device = device(n);
            lab.veth((&bed.host, &device), (&workloads, &device))?;
            for end in [&bed.host, &workloads] {
                end.ip(&format!("link set dev {device} up"))?;
            }
        }
        Ok(Self(bed))
    }

    pub(crate) const fn host(&self) -> &Netns {
        &self.0.host
    }

    pub(crate) const fn unix(&self) -> &Server {
        &self.0.unix
    }

    pub(crate) const fn tls(&self) -> &Server {
        &self.0.tls
    }

    pub(crate) const fn servers(&self) -> [(&'static str, &Server); 2] {
        [("unix", self.unix()), ("https", self.tls())]
    }
}
