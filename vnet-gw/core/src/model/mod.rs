//! Azure resources: their types, reading them from a template, and their rules.
//!
//! [`parse_template`] takes the text through three steps, and stops after the first one that finds
//! something wrong:
//!
//! 1. `template`: JSON with comments; parameters, variables and expressions are evaluated,
//!    conditions decided, loops unrolled. What is left is a list of resources.
//! 2. `read`: every property is held against what Azure has. One that would change what is
//!    forwarded and is not carried out yet is refused, never skipped.
//! 3. `rules`: each resource is held against the rules that it can break alone, then all against one
//!    another, and what follows from them is filled in.
//!
//! A store's documents take the last two steps apart: [`read_document`] reads one, and what only it
//! can break; [`settle`] holds all of them against one another, whenever one has changed. So a
//! change reads one document, and shares with the topology before it all that it left alone. What is
//! read differs in two ways: what has no effect here becomes a [`Warning`], since a store gives back
//! what it was given; and peerings remember what they were, see `rules::peering_state`.
//!
//! What a template may leave out, and what then holds:
//!
//! | left out | holds |
//! |---|---|
//! | `$schema`, `contentVersion`, `apiVersion` | nothing depends on them |
//! | `location` | that of the resource group, [`DeployOptions::location`] |
//! | `id` of a resource | made from [`DeployOptions`], type and name |
//! | `allowVirtualNetworkAccess` | true; the other `allow…` and `useRemoteGateways` are false |
//! | `privateIPAllocationMethod` | `Static` where there is an address, else `Dynamic` |
//! | `privateIPAddressVersion` | that of the address, else `IPv4` |
//! | `primary` | the first IPv4 ipConfiguration |
//! | `sku` of a public IP address, `publicIPAllocationMethod` | `Standard`, `Static` |
//! | `gatewayType`, `vpnType` | `Vpn`, `RouteBased` |
//! | `vpnGatewayGeneration` | the first one that has the SKU |
//! | `connectionProtocol`, `connectionMode` | `IKEv2`, `Default` |
//! | `dpdTimeoutSeconds` | 45 |
//! | `ipsecPolicies` | proposals with AES-256-GCM, ChaCha20-Poly1305, AES-128-GCM and AES-CBC |
//! | lifetimes of an IPsec policy | 27,000 s and 102,400,000 KB |
//! | `sharedKey` | that of the connection back, else one is made |
//! | `macAddress` | made from the id, in Azure's OUI 00-0D-3A |
//!
//! A `Dynamic` ipConfiguration keeps the `privateIPAddress` that an exported template shows, where
//! that is free; the others get the lowest free address of their subnet in the template's order.
//!
//! The remote network of a peering must be in the template, unless its id is of another resource
//! group or subscription: then the peering stays `Initiated`, as any whose other side is missing.
//!
//! Ids may be full, relative to the subscription or the resource group, or plain names
//! (`VNet1/FrontEnd`); they compare without case. A child resource at the top of the template
//! replaces what its parent has of the same name, because it is a PUT of its own after that of its
//! parent: exported templates say both.

mod addresses;
mod document;
pub(crate) mod error;
pub(crate) mod hidden;
mod id;
mod ipsec;
mod kind;
mod object;
mod options;
mod path;
pub(crate) mod peered;
mod prefix;
mod read;
mod rules;
mod security;
mod shared;
pub(crate) mod template;
pub(crate) mod transit;
mod types;
mod vpn;

pub use document::{ReadDocument, Reference, Warning, read_document, settle, settle_again};
pub use error::{ArmError, MAX_DETAILS};
pub(crate) use error::{Errors, cut, one_line};
pub use ipsec::{
    DhGroup, IkeEncryption, IkeIntegrity, IpsecEncryption, IpsecIntegrity, IpsecPolicy, PfsGroup,
};
pub use kind::Kind;
pub use options::{DeployOptions, parse_parameters_file};
pub use peered::SubnetPeering;
pub use security::{
    Access, ApplicationSecurityGroup, Direction, NetworkSecurityGroup, PortRange, SecurityRule,
    SecurityRuleAddresses, SecurityRuleEnd, SecurityRuleProtocol, ServiceTag,
};
pub use shared::Shared;
pub use template::{EvaluatedResource, parse_relaxed_json, template_resources};
pub use transit::UsedGateway;
pub use types::*;
pub use vpn::*;

/// The topology that an ARM deployment template describes, validated as a whole
/// (`azure-semantics.md`, rules B to D).
///
/// # Errors
///
/// Everything that is wrong, as one [`ArmError`]; several are its details. None shows a key or the
/// value of a secure parameter, nor what an expression made of one.
pub fn parse_template(text: &str, options: &DeployOptions) -> Result<Topology, ArmError> {
    let hidden = hidden::Hidden::default();
    parse(text, options, &hidden).map_err(|error| hidden.scrub(error))
}

fn parse(
    text: &str,
    options: &DeployOptions,
    hidden: &hidden::Hidden,
) -> Result<Topology, ArmError> {
    options.check()?;
    let mut errors = error::Errors::default();
    let blanked = std::cell::OnceCell::new();
    let resources = template::read(text, &blanked, options, hidden, &mut errors);
    std::mem::take(&mut errors).into_result()?;
    let mut draft = read::read(&resources, options, &mut errors);
    std::mem::take(&mut errors).into_result()?;
    rules::alone(&mut draft, &mut errors);
    let fragments = draft.into_fragments();
    let topology = rules::together(fragments.iter(), &mut errors);
    errors.into_result()?;
    Ok(topology)
}

/// `West Europe` is `westeurope`.
pub(crate) fn normalise_location(location: &str) -> String {
    location
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect::<String>()
        .to_lowercase()
}
