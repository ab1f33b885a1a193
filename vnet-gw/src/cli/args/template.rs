//! `vnet-gw apply`, `vnet-gw what-if`, `vnet-gw export`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub template: TemplateArgs,

    /// Show what would change, and change nothing
    #[arg(long)]
    pub what_if: bool,
}

/// A template, and where it goes.
#[derive(Debug, Args)]
pub struct TemplateArgs {
    /// An ARM template; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// An ARM parameters file, or a parameter as NAME=VALUE or NAME=@FILE, which takes the value from
    /// a file; may be given several times, the last value of a name counts
    ///
    /// Values of secure parameters are taken from files only: every process of this host can read a
    /// command line.
    #[arg(short, long, value_name = "FILE|NAME=VALUE")]
    pub parameters: Vec<String>,

    /// Remove what the resource group has, and the template has not
    #[arg(long)]
    pub prune: bool,

    #[command(flatten)]
    pub group: GroupArgs,

    /// Location of the resource group, where it is yet to be made [default: local]
    #[arg(long, value_name = "REGION")]
    pub location: Option<String>,
}

/// A resource group of the running instance.
#[derive(Clone, Debug, Default, Args)]
pub struct GroupArgs {
    /// The resource group [default: vnet-gw]
    #[arg(short = 'g', long, value_name = "NAME")]
    pub resource_group: Option<String>,

    /// Its subscription [default: the instance's]
    #[arg(long, value_name = "ID")]
    pub subscription_id: Option<String>,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub group: GroupArgs,

    /// Write the template here [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
