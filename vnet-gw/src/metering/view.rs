//! The ledger as lines of a bill.

use serde::{Deserialize, Serialize};
use vnet_gw_core::metering::{Metered, Row};

use super::Count;

/// What `vnet-gw usage` answers. Times are RFC 3339, UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageList {
    /// The period that is answered for: what was asked, moved outwards to whole buckets. Nothing
    /// where it is all there ever was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub to: String,
    /// `5m`, `1h` or `1d`: the buckets it is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granularity: Option<String>,
    pub value: Vec<UsageRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// `peering`, `globalPeering`, `gatewayTransit`, `vnetToVnet`, `vnetToVnetInterRegion`,
    /// `siteToSite` or `internet`.
    pub class: String,
    /// `egress` or `ingress`, seen from the virtual network.
    pub direction: String,
    /// Whom it is metered for.
    pub virtual_network: String,
    /// A virtual network, or a localNetworkGateway; empty for the internet.
    pub peer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    pub source_region: String,
    pub destination_region: String,
    /// Whether Azure bills for it.
    pub billed: bool,
    pub packets: u64,
    /// Of layer-3 packets.
    pub bytes: u64,
}

/// In the order of classes, networks and directions.
pub(super) fn rows<'a>(counts: impl IntoIterator<Item = (&'a Metered, Count)>) -> Vec<UsageRow> {
    let counts: Vec<(&Metered, Count)> = counts.into_iter().collect();
    let lines = counts.iter().filter(|(_, count)| !count.is_zero());
    let mut lines: Vec<(Row<'_>, Count)> = lines
        .flat_map(|(of, count)| of.rows().into_iter().map(|row| (row, *count)))
        .collect();
    lines.sort_by(|(a, _), (b, _)| {
        let key = |row: &Row<'_>| {
            let low = |id: &str| id.to_ascii_lowercase();
            let connection = row.connection.map(low);
            (
                row.class,
                low(row.virtual_network),
                low(row.peer),
                connection,
                row.direction,
            )
        };
        key(a).cmp(&key(b))
    });
    lines
        .into_iter()
        .map(|(row, count)| line(&row, count))
        .collect()
}

fn line(row: &Row<'_>, count: Count) -> UsageRow {
    UsageRow {
        class: row.class.name().to_owned(),
        direction: row.direction.name().to_owned(),
        virtual_network: row.virtual_network.to_owned(),
        peer: row.peer.to_owned(),
        connection: row.connection.map(str::to_owned),
        source_region: row.source_region.to_owned(),
        destination_region: row.destination_region.to_owned(),
        billed: row.billed,
        packets: count.packets,
        bytes: count.bytes,
    }
}
