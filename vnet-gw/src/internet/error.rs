//! Why there is no internet port.

use std::io;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum InternetError {
    #[error("internet port: {what}: {source}")]
    Kernel { what: String, source: io::Error },
    #[error(
        "internet port: the program `nft` is not here; install it (Debian: apt-get install nftables), \
         or start with `--internet off`"
    )]
    NoNft,
    #[error("internet port: nft refused the table `inet {table}`: {why}")]
    Nft { table: String, why: String },
    #[error(
        "internet port: {} instances of this network namespace have one already; start this one with \
         `--internet off`",
        vnet_gw_common::internet::SLOTS
    )]
    NoSlot,
}

impl InternetError {
    /// What was being done.
    pub(super) fn at(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Kernel { what, source }
    }
}
