//! Whether a rule set fits the data path, asked before anything rests on it.

use ipnet::IpNet;
use vnet_gw_common::nsg::{INNER4, INNER6, LEAF4, LEAF6};

use super::{
    Rule, RuleAddresses, RuleSet,
    classifier::{self, ClassifierError},
};

/// Intervals of addresses that a search goes through at most.
const MOST: [usize; 2] = [INNER4 * INNER4 * LEAF4, INNER6 * INNER6 * LEAF6];

/// Whether the data path takes the set. What is far from its limits is only counted.
///
/// # Errors
///
/// What of it is too large.
pub fn check_size(set: &RuleSet) -> Result<(), ClassifierError> {
    let ends: [fn(&Rule) -> &RuleAddresses; 2] = [|rule| &rule.source, |rule| &rule.destination];
    let fits = ends.into_iter().all(|end| {
        let mut counts = [0usize; 2];
        for rule in &set.rules {
            if let RuleAddresses::Prefixes(prefixes) = end(rule) {
                let v4 = prefixes.partition_point(|prefix| matches!(prefix, IpNet::V4(_)));
                counts[0] += v4;
                counts[1] += prefixes.len() - v4;
            }
        }
        // A prefix has two edges.
        let mut pairs = counts.into_iter().zip(MOST);
        pairs.all(|(count, most)| 2 * count < most)
    });
    if fits {
        return Ok(());
    }
    let counters = vec![0; set.rules.len()];
    classifier::build(set, &counters, 1).map(drop)
}
