//! The daemon that is measured, and how it is reached.

use anyhow::Result;
use vnet_gw_lab::{Lab, Netns};
use vnet_gw_tests::{api_bed::ApiBed, http::Server};

use crate::options::Options;

pub(crate) struct Subject(ApiBed);

impl Subject {
    pub(crate) fn start(lab: &Lab, options: &Options) -> Result<Self> {
        ApiBed::start(lab, &options.daemon, "api").map(Self)
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
