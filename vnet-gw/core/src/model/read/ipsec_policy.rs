//! `ipsecPolicies[]` of a connection: every algorithm of Azure's enums is known here, and those
//! that are not carried out say why and what to use instead.

use std::time::Duration;

use super::Reader;
use crate::model::{
    ArmError, DhGroup, IkeEncryption, IkeIntegrity, IpsecEncryption, IpsecIntegrity, IpsecPolicy,
    PfsGroup,
    error::cut,
    object::{Object, READ, Schema, format_error},
    path::Path,
    template::node::Node,
};

const IPSEC_POLICY: Schema = &[
    ("saLifeTimeSeconds", READ),
    ("saDataSizeKilobytes", READ),
    ("ipsecEncryption", READ),
    ("ipsecIntegrity", READ),
    ("ikeEncryption", READ),
    ("ikeIntegrity", READ),
    ("dhGroup", READ),
    ("pfsGroup", READ),
];

/// Why an algorithm is not carried out, and what to use instead, by its name in Azure's enums.
const REFUSED_ALGORITHMS: [(&str, &str); 10] = [
    (
        "DES",
        "its keys of 56 bits are found in hours: use GCMAES256",
    ),
    (
        "DES3",
        "its blocks of 64 bits leak under load (Sweet32): use GCMAES256",
    ),
    ("MD5", "it is broken: use SHA256"),
    (
        "DHGroup1",
        "768 bits have been broken since 2009: use ECP256 or DHGroup14",
    ),
    (
        "DHGroup24",
        "RFC 8247 forbids it, its small subgroup may hide a trapdoor: use ECP256 or DHGroup14",
    ),
    (
        "PFS1",
        "768 bits have been broken since 2009: use ECP256 or PFS14",
    ),
    (
        "PFS24",
        "RFC 8247 forbids it, its small subgroup may hide a trapdoor: use ECP256 or PFS14",
    ),
    (
        "PFSMM",
        "it means the group of dhGroup, whichever that is: name that group",
    ),
    // Of `dhGroup`: IKEv2 has no exchange without keys. (`pfsGroup` None is a choice.)
    (
        "dhGroup None",
        "IKEv2 cannot do without a key exchange: use ECP256",
    ),
    (
        "ipsecEncryption None",
        "packets would travel in the clear: use GCMAES256",
    ),
];

/// The algorithms of one property: Azure's names, all of them, and those with a value.
struct Choice<T: 'static> {
    property: &'static str,
    known: &'static [T],
    name: fn(T) -> &'static str,
    /// Azure's others.
    others: &'static [&'static str],
}

impl Reader<'_> {
    pub(super) fn ipsec_policy(&mut self, item: &Node<'_>, path: &Path<'_>) -> Option<IpsecPolicy> {
        let object = Object::open(item, path, IPSEC_POLICY, self.errors);
        if object.is_broken() {
            return None;
        }
        let life_time = self.least(
            &object,
            "saLifeTimeSeconds",
            IpsecPolicy::LIFE_TIME.as_secs(),
            IpsecPolicy::LEAST_LIFE_TIME.as_secs(),
        );
        let kilobytes = self.least(
            &object,
            "saDataSizeKilobytes",
            IpsecPolicy::KILOBYTES,
            IpsecPolicy::LEAST_KILOBYTES,
        );
        let ipsec_encryption = self.algorithm(
            &object,
            &Choice {
                property: "ipsecEncryption",
                known: IpsecEncryption::ALL,
                name: IpsecEncryption::as_str,
                others: &["None", "DES", "DES3"],
            },
        );
        let ipsec_integrity = self.algorithm(
            &object,
            &Choice {
                property: "ipsecIntegrity",
                known: IpsecIntegrity::ALL,
                name: IpsecIntegrity::as_str,
                others: &["MD5"],
            },
        );
        let ike_encryption = self.algorithm(
            &object,
            &Choice {
                property: "ikeEncryption",
                known: IkeEncryption::ALL,
                name: IkeEncryption::as_str,
                others: &["DES", "DES3"],
            },
        );
        let ike_integrity = self.algorithm(
            &object,
            &Choice {
                property: "ikeIntegrity",
                known: IkeIntegrity::ALL,
                name: IkeIntegrity::as_str,
                others: &["MD5"],
            },
        );
        let dh_group = self.algorithm(
            &object,
            &Choice {
                property: "dhGroup",
                known: DhGroup::ALL,
                name: DhGroup::as_str,
                others: &["None", "DHGroup1", "DHGroup24"],
            },
        );
        let pfs_group = self.algorithm(
            &object,
            &Choice {
                property: "pfsGroup",
                known: PfsGroup::ALL,
                name: PfsGroup::as_str,
                others: &["PFS1", "PFS24", "PFSMM"],
            },
        );
        let policy = IpsecPolicy {
            sa_life_time: Duration::from_secs(life_time?),
            sa_data_size_kilobytes: kilobytes?,
            ipsec_encryption: ipsec_encryption?,
            ipsec_integrity: ipsec_integrity?,
            ike_encryption: ike_encryption?,
            ike_integrity: ike_integrity?,
            dh_group: dh_group?,
            pfs_group: pfs_group?,
        };
        self.suites(&policy, path).then_some(policy)
    }

    /// What stands together.
    fn suites(&mut self, policy: &IpsecPolicy, path: &Path<'_>) -> bool {
        let (encryption, integrity) = (
            policy.ipsec_encryption.as_str(),
            policy.ipsec_integrity.as_str(),
        );
        let gcm = |name: &str| name.starts_with("GCM");
        let mut good = true;
        if (gcm(encryption) || gcm(integrity)) && encryption != integrity {
            good = false;
            let message = format!(
                "GCM both encrypts and protects, so ipsecEncryption and ipsecIntegrity must be \
                 equal, and {encryption} is not {integrity}: write the same in both."
            );
            self.policy_error(message, &path.key("ipsecIntegrity"));
        }
        let (encryption, integrity) = (
            policy.ike_encryption.as_str(),
            policy.ike_integrity.as_str(),
        );
        // SHA beside GCM names the PRF.
        if gcm(integrity) && encryption != integrity {
            good = false;
            let message = format!(
                "The ikeIntegrity {integrity} goes with the ikeEncryption {integrity} alone, not \
                 with {encryption}: use SHA384 or SHA256."
            );
            self.policy_error(message, &path.key("ikeIntegrity"));
        }
        good
    }

    fn least(
        &mut self,
        object: &Object<'_, '_>,
        name: &str,
        default: u64,
        least: u64,
    ) -> Option<u64> {
        match object.get(name) {
            None => Some(default),
            Some(_) => object.integer(
                name,
                least..=u64::from(i32::MAX.unsigned_abs()),
                self.errors,
            ),
        }
    }

    fn algorithm<T: Copy>(&mut self, object: &Object<'_, '_>, choice: &Choice<T>) -> Option<T> {
        let property = choice.property;
        let text = object.needed_text(property, self.errors)?;
        let known = choice.known.iter().copied();
        if let Some(found) = known
            .clone()
            .find(|value| (choice.name)(*value).eq_ignore_ascii_case(text))
        {
            return Some(found);
        }
        let path = object.path.key(property);
        let other = choice.others.iter().find(|o| o.eq_ignore_ascii_case(text));
        match other {
            Some(other) => {
                let qualified = format!("{property} {other}");
                let why = REFUSED_ALGORITHMS
                    .iter()
                    .find(|(name, _)| name == other || *name == qualified)
                    .map_or("use another", |(_, why)| why);
                self.policy_error(
                    format!("The {property} {other} is not supported: {why}."),
                    &path,
                );
            }
            None => {
                let names: Vec<&str> = known.map(choice.name).collect();
                self.errors.push(format_error(
                    format!(
                        "'{}' is not one of {}: correct it.",
                        cut(text),
                        names.join(", ")
                    ),
                    &path,
                ));
            }
        }
        None
    }

    fn policy_error(&mut self, message: String, path: &Path<'_>) {
        self.errors
            .push(ArmError::new("InvalidIpsecPolicy", message).at(path.to_string()));
    }
}
