//! Network security groups (rule C "NSG").

use super::error;
use crate::model::{NetworkSecurityGroup, error::Errors};

/// Orders the rules as they are asked: by direction, then priority. Equal ones are refused.
pub(super) fn sort(group: &mut NetworkSecurityGroup, errors: &mut Errors) {
    group
        .rules
        .sort_by_key(|rule| (rule.direction, rule.priority));
    for pair in group.rules.windows(2) {
        let [first, second] = pair else { continue };
        if (first.direction, first.priority) == (second.direction, second.priority) {
            let message = format!(
                "The security rules '{}' and '{}' have the same direction and the priority {}: \
                 change one.",
                first.name, second.name, first.priority
            );
            errors.push(error("SecurityRuleConflict", &group.id, message));
        }
    }
}
