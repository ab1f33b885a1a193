//! `ipsecPolicies`: what is read, and what is refused.

use serde_json::{Value, json};
use vnet_gw_core::model::{IpsecPolicy, PfsGroup};

use crate::{
    connections::connection,
    support::{good, refused},
    vpn::{TO_SITE, accepts, property},
};

fn policy() -> Value {
    json!({
        "saLifeTimeSeconds": 14_400,
        "saDataSizeKilobytes": 819_200,
        "ipsecEncryption": "AES256",
        "ipsecIntegrity": "SHA256",
        "ikeEncryption": "AES256",
        "ikeIntegrity": "SHA384",
        "dhGroup": "DHGroup14",
        "pfsGroup": "PFS2048",
    })
}

fn with_policy(fields: &[(&str, Value)]) -> Vec<Value> {
    let mut policy = policy();
    for (name, value) in fields {
        policy[name] = value.clone();
    }
    property(TO_SITE, "ipsecPolicies", json!([policy]))
}

#[test]
fn a_policy_is_read() {
    let read = |fields: &[(&str, Value)]| -> IpsecPolicy {
        let topology = good(&with_policy(fields));
        connection(&topology, "VNet1-Site")
            .ipsec_policy
            .expect("a policy")
    };
    let made = read(&[]);
    assert_eq!(
        (made.sa_life_time.as_secs(), made.sa_data_size_kilobytes),
        (14_400, 819_200)
    );
    let names = [
        made.ipsec_encryption.as_str(),
        made.ipsec_integrity.as_str(),
        made.ike_encryption.as_str(),
        made.ike_integrity.as_str(),
        made.dh_group.as_str(),
        made.pfs_group.as_str(),
    ];
    assert_eq!(
        names,
        [
            "AES256",
            "SHA256",
            "AES256",
            "SHA384",
            "DHGroup14",
            "PFS2048"
        ]
    );
    let defaults = read(&[
        ("saLifeTimeSeconds", Value::Null),
        ("saDataSizeKilobytes", Value::Null),
    ]);
    assert_eq!(defaults.sa_life_time.as_secs(), 27_000);
    assert_eq!(defaults.sa_data_size_kilobytes, 102_400_000);
    // Every value of Azure's that is carried out.
    for (name, values) in [
        (
            "ikeEncryption",
            &["AES128", "AES192", "AES256", "GCMAES128", "GCMAES256"][..],
        ),
        ("ikeIntegrity", &["SHA1", "SHA256", "SHA384"]),
        (
            "dhGroup",
            &["DHGroup2", "DHGroup14", "DHGroup2048", "ECP256", "ECP384"],
        ),
        ("ipsecEncryption", &["AES128", "AES192", "AES256"]),
        ("ipsecIntegrity", &["SHA1", "SHA256"]),
        (
            "pfsGroup",
            &["None", "PFS2", "PFS14", "PFS2048", "ECP256", "ECP384"],
        ),
    ] {
        for value in values {
            read(&[(name, json!(value))]);
            read(&[(name, json!(value.to_lowercase()))]);
        }
    }
    for gcm in ["GCMAES128", "GCMAES192", "GCMAES256"] {
        read(&[
            ("ipsecEncryption", json!(gcm)),
            ("ipsecIntegrity", json!(gcm)),
        ]);
    }
    for gcm in ["GCMAES128", "GCMAES256"] {
        read(&[("ikeEncryption", json!(gcm)), ("ikeIntegrity", json!(gcm))]);
    }
    assert_eq!(
        read(&[("pfsGroup", json!("none"))]).pfs_group,
        PfsGroup::None
    );
}

#[test]
fn weak_algorithms_are_refused_with_what_to_use_instead() {
    for (name, value, says) in [
        ("ikeEncryption", "DES", "use GCMAES256"),
        ("ikeEncryption", "DES3", "use GCMAES256"),
        ("ikeIntegrity", "MD5", "use SHA256"),
        ("dhGroup", "None", "use ECP256"),
        ("dhGroup", "DHGroup1", "use ECP256 or DHGroup14"),
        ("dhGroup", "DHGroup24", "use ECP256 or DHGroup14"),
        ("ipsecEncryption", "None", "in the clear"),
        ("ipsecEncryption", "DES", "use GCMAES256"),
        ("ipsecEncryption", "des3", "Sweet32"),
        ("ipsecIntegrity", "MD5", "use SHA256"),
        ("pfsGroup", "PFS1", "use ECP256 or PFS14"),
        ("pfsGroup", "PFS24", "use ECP256 or PFS14"),
        ("pfsGroup", "PFSMM", "name that group"),
    ] {
        let error = refused(
            &with_policy(&[(name, json!(value))]),
            "InvalidIpsecPolicy",
            name,
        );
        assert!(error.message.contains(says), "{name} {value}: {error}");
    }
}

#[test]
fn a_policy_names_every_algorithm_once_and_they_go_together() {
    let gcm = |encryption: &str, integrity: &str| {
        let fields = [
            ("ipsecEncryption", json!(encryption)),
            ("ipsecIntegrity", json!(integrity)),
        ];
        refused(
            &with_policy(&fields),
            "InvalidIpsecPolicy",
            "ipsecIntegrity",
        );
    };
    gcm("GCMAES256", "SHA256");
    gcm("AES256", "GCMAES256");
    gcm("GCMAES256", "GCMAES128");
    let fields = [("ikeIntegrity", json!("GCMAES256"))];
    refused(&with_policy(&fields), "InvalidIpsecPolicy", "ikeIntegrity");
    for name in [
        "ikeEncryption",
        "ikeIntegrity",
        "dhGroup",
        "ipsecEncryption",
        "ipsecIntegrity",
        "pfsGroup",
    ] {
        refused(
            &with_policy(&[(name, Value::Null)]),
            "InvalidRequestFormat",
            "ipsecPolicies[0]",
        );
        refused(
            &with_policy(&[(name, json!("AES"))]),
            "InvalidRequestFormat",
            name,
        );
    }
    for (name, bad) in [
        ("saLifeTimeSeconds", 299),
        ("saDataSizeKilobytes", 1_023),
        ("saDataSizeKilobytes", 0),
        ("saLifeTimeSeconds", 1_i64 << 40),
    ] {
        refused(
            &with_policy(&[(name, json!(bad))]),
            "InvalidRequestFormat",
            name,
        );
    }
    good(&with_policy(&[
        ("saLifeTimeSeconds", json!(300)),
        ("saDataSizeKilobytes", json!(1_024)),
    ]));
    let two = property(TO_SITE, "ipsecPolicies", json!([policy(), policy()]));
    refused(&two, "TooManyIpsecPolicies", "ipsecPolicies");
    accepts(TO_SITE, "ipsecPolicies", json!([]));
    let odd = property(TO_SITE, "ipsecPolicies", json!(["AES256"]));
    refused(&odd, "InvalidRequestFormat", "ipsecPolicies[0]");
}
