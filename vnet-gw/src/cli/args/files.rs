//! Templates, and what they are deployed with.

use std::path::PathBuf;

use clap::Args;
use vnet_gw_core::model::DeployOptions;

use super::GroupArgs;
use crate::daemon::ConfigFiles;

/// What a template is deployed with.
#[derive(Clone, Debug, Args)]
pub struct DeployArgs {
    /// An ARM parameters file for the template
    #[arg(long, value_name = "FILE")]
    pub parameters: Option<PathBuf>,

    /// Subscription in the resources' ids [default: all zeroes]
    #[arg(long, value_name = "ID")]
    pub subscription_id: Option<String>,

    /// Resource group in the resources' ids [default: vnet-gw]
    #[arg(long, value_name = "NAME")]
    pub resource_group: Option<String>,

    /// Location of the resource group [default: local]
    #[arg(long, value_name = "REGION")]
    pub location: Option<String>,

    /// Name of this host, as in the tag `vnet-gw:host` [default: its host name]
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
}

impl DeployArgs {
    /// The files and options of the template at `template`.
    pub fn files(&self, template: PathBuf) -> ConfigFiles {
        let default = DeployOptions::default();
        ConfigFiles {
            template,
            parameters: self.parameters.clone(),
            deploy: DeployOptions {
                subscription_id: self
                    .subscription_id
                    .clone()
                    .unwrap_or(default.subscription_id),
                resource_group: self
                    .resource_group
                    .clone()
                    .unwrap_or(default.resource_group),
                location: self.location.clone().unwrap_or(default.location),
                ..default
            },
            host_name: self.host_name(),
        }
    }

    /// What this host is called.
    pub fn host_name(&self) -> Option<String> {
        self.host.clone().or_else(|| {
            let name = nix::unistd::gethostname().ok()?;
            name.into_string().ok()
        })
    }
}

/// Where resources are looked at.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Look at this template instead of asking the daemon
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub deploy: DeployArgs,
}

#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The ARM template
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    #[command(flatten)]
    pub deploy: DeployArgs,
}

#[derive(Debug, Args)]
pub struct ImportNetcfgArgs {
    /// The network configuration file (`.xml`, `.netcfg`)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Write the template here [default: to standard output]
    #[arg(long, value_name = "TEMPLATE")]
    pub out: Option<PathBuf>,

    /// Region of virtual networks of which the file says an affinity group only [default: that of
    /// the resource group which the template is deployed to]
    #[arg(long, value_name = "REGION")]
    pub location: Option<String>,

    /// Deploy the template to the running daemon
    #[arg(long)]
    pub apply: bool,

    /// The values to supply: an ARM parameters file, or a parameter as NAME=VALUE or NAME=@FILE, which
    /// takes the value from a file; may be given several times. Shared keys are taken from files only
    #[arg(short, long, value_name = "FILE|NAME=VALUE", requires = "apply")]
    pub parameters: Vec<String>,

    #[command(flatten)]
    pub group: GroupArgs,
}
