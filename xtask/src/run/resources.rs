//! What the example's own parts need to know of its template.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The resources of a template whose references are `resourceId` expressions.
pub(super) struct Resources<'a>(&'a [Value]);

/// The site on premises and the connection to it.
pub(super) struct SiteParts {
    /// Of the localNetworkGateway.
    pub(super) address: IpAddr,
    pub(super) prefixes: Vec<String>,
    pub(super) key: String,
    /// The public addresses of the gateway that the site is connected to.
    pub(super) peers: Vec<IpAddr>,
    /// The address space of that gateway's VNet.
    pub(super) remote: Vec<String>,
}

impl<'a> Resources<'a> {
    pub(super) fn of(template: &'a Value) -> Result<Self> {
        let resources = template["resources"].as_array();
        Ok(Self(resources.context("the example has no resources")?))
    }

    fn all(&self, kind: &str) -> impl Iterator<Item = &'a Value> {
        let kind = format!("Microsoft.Network/{kind}");
        self.0
            .iter()
            .filter(move |resource| resource["type"] == kind.as_str())
    }

    /// The resource that the expression `id` is about: it has the name in quotes.
    fn named(&self, kind: &str, id: &Value) -> Result<&'a Value> {
        let text = id.as_str().unwrap_or_default();
        self.all(kind)
            .find(|resource| {
                let name = resource["name"].as_str().unwrap_or_default();
                text.contains(&format!("'{name}'"))
            })
            .with_context(|| format!("the example has no {kind} {id}"))
    }

    /// The public addresses of the gateways on the host `name`.
    pub(super) fn public_addresses(&self, name: &str) -> Result<Vec<IpAddr>> {
        let mut out = Vec::new();
        for gateway in self.all("virtualNetworkGateways") {
            if gateway["tags"]["vnet-gw:host"] == name {
                out.extend(self.addresses_of(gateway)?);
            }
        }
        ensure!(!out.is_empty(), "the host {name} has no gateway");
        Ok(out)
    }

    fn addresses_of(&self, gateway: &Value) -> Result<Vec<IpAddr>> {
        let configurations = gateway["properties"]["ipConfigurations"].as_array();
        let configurations = configurations.into_iter().flatten();
        configurations
            .map(|configuration| {
                let id = &configuration["properties"]["publicIPAddress"]["id"];
                let public = self.named("publicIPAddresses", id)?;
                address(&public["properties"]["ipAddress"])
            })
            .collect()
    }

    /// The first connection to a site, with what is at both ends.
    pub(super) fn site(&self) -> Result<SiteParts> {
        let connection = self
            .all("connections")
            .find(|connection| connection["properties"]["connectionType"] == "IPsec")
            .context("the example has no connection to a site")?;
        let properties = &connection["properties"];
        let site = self.named(
            "localNetworkGateways",
            &properties["localNetworkGateway2"]["id"],
        )?;
        let gateway = self.named(
            "virtualNetworkGateways",
            &properties["virtualNetworkGateway1"]["id"],
        )?;
        let subnet = &gateway["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"];
        let vnet = self.named("virtualNetworks", subnet)?;
        let key = properties["sharedKey"].as_str();
        Ok(SiteParts {
            address: address(&site["properties"]["gatewayIpAddress"])?,
            prefixes: texts(&site["properties"]["localNetworkAddressSpace"]["addressPrefixes"]),
            key: key
                .context("the example's connection to the site has no sharedKey")?
                .to_owned(),
            peers: self.addresses_of(gateway)?,
            remote: texts(&vnet["properties"]["addressSpace"]["addressPrefixes"]),
        })
    }
}

fn address(value: &Value) -> Result<IpAddr> {
    let text = value.as_str().unwrap_or_default();
    text.parse()
        .with_context(|| format!("{value} is no address"))
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}
