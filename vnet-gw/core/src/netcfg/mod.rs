//! Classic import: a network configuration file of Azure's classic model becomes an ARM template of
//! today's resources (`azure-semantics.md`, A31).
//!
//! ```text
//! NetworkConfiguration (XML)
//!    │  guard     what could take memory or time without end is refused
//!    │  read      elements, each with its line
//!    │  plan      a site that stands for a VNet of the file becomes a VNet-to-VNet connection
//!    ▼  template  names that ARM takes, parameters for what the file has not
//! Import: a template, and what could not be carried over, line by line
//! ```
//!
//! | in the file | becomes |
//! |---|---|
//! | `VirtualNetworkSite` | a virtualNetwork with its subnets and `dhcpOptions.dnsServers` |
//! | its `Gateway` with connections | a virtualNetworkGateway and a publicIPAddress |
//! | `LocalNetworkSite` | a localNetworkGateway, unless it stands for a VNet |
//! | `LocalNetworkSiteRef` with `IPsec` | a connection, `IPsec` or `Vnet2Vnet` |
//!
//! A site stands for a VNet of the file where both have the same address space: in the classic
//! model VNets were joined through such sites, with a placeholder for the gateway's address.

mod guard;
mod names;
mod plan;
mod read;
mod template;
#[cfg(test)]
mod tests;

use std::fmt;

pub use guard::MAX_BYTES;

use serde_json::Value;
use thiserror::Error;

use crate::model::{ArmError, DeployOptions, one_line, parse_template};

/// What a file became.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// An ARM deployment template.
    pub template: Value,
    /// In the order of lines.
    pub findings: Vec<Finding>,
    /// Rules that the resources break, as the file has them: the template cannot be deployed before
    /// that is mended.
    pub invalid: Option<ArmError>,
}

/// Something that whoever imports must know. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Of the file, from 1.
    pub line: u32,
    pub kind: FindingKind,
    /// What, why, and what to do.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    NotCarriedOver,
    /// Carried over, and not as it was.
    Changed,
    /// A value that the file has not, and a parameter of the template wants.
    Supply,
}

impl FindingKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotCarriedOver => "not carried over",
            Self::Changed => "changed",
            Self::Supply => "to supply",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}: {}: {}",
            self.line,
            self.kind.as_str(),
            one_line(&self.message)
        )
    }
}

/// The file is none that can be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetcfgError {
    #[error("the file has {0} bytes or more, and at most {max} are read: split it", max = guard::MAX_BYTES)]
    TooLarge(usize),
    #[error("the file is neither UTF-8 nor UTF-16: save it as UTF-8")]
    Encoding,
    #[error("line {0}: elements are nested more than {max} deep", max = guard::MAX_DEPTH)]
    TooDeep(u32),
    #[error("line {0}: an element has more than {max} attributes", max = guard::MAX_ATTRIBUTES)]
    TooManyAttributes(u32),
    /// Not well-formed, has a DTD (and so entities), or too many nodes.
    #[error("it is no XML that is read here: {0}")]
    Xml(String),
    #[error(
        "it is no classic network configuration: the root element is {0}, and must be \
         NetworkConfiguration of {namespace}",
        namespace = read::NAMESPACE
    )]
    OtherRoot(String),
}

/// Imports a network configuration file. `location` is the region of what the file gives only an
/// affinity group for; without it, that of the resource group which the template is deployed to.
///
/// # Errors
///
/// Where the file cannot be read at all. What it says that cannot be carried over is a
/// [`Finding`].
pub fn import(file: &[u8], location: Option<&str>) -> Result<Import, NetcfgError> {
    let text = guard::decode(file)?;
    guard::check(&text)?;
    let mut findings = Vec::new();
    let read = read::read(&text, &mut findings)?;
    let plan = plan::plan(read, &mut findings);
    let template = template::template(&plan, location, &mut findings);
    findings.sort();
    Ok(Import {
        invalid: check(&plan, &template),
        template,
        findings,
    })
}

/// Holds the template against all rules, with made-up values for its parameters.
fn check(plan: &plan::Plan, template: &Value) -> Option<ArmError> {
    let options = DeployOptions {
        parameters: template::stand_ins(plan),
        ..DeployOptions::default()
    };
    parse_template(&template.to_string(), &options).err()
}
