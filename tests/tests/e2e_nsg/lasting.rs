//! What outlives the daemon, and what it writes down.

use std::{fs, path::PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    at_both_hooks,
    world::{SILENCE, addresses, arrives, connect, hits, talks, template, udp},
};
use vnet_gw_tests::bed::Bed;

#[test]
fn flows_outlive_the_daemon() {
    at_both_hooks(|hook| {
        let template = template(true, false);
        let mut bed = Bed::start_with(&template, hook, &[], |_, _| Ok(())).unwrap();
        let mut talking: Vec<_> = addresses(bed.workload("db"))
            .map(|address| connect(&bed, "web", "db", address).unwrap())
            .into();
        let admitted = hits(&bed, "served", "AnyTcp");
        bed.daemon.terminate(Signal::SIGTERM).unwrap();
        for (near, far) in &mut talking {
            assert!(talks(near, far), "{hook:?} without a daemon");
        }
        let address = bed.workload("web").ipv4().unwrap();
        assert!(connect(&bed, "db", "web", address).is_none(), "{hook:?}");
        bed.daemon.launch().unwrap();
        for (near, far) in &mut talking {
            assert!(talks(near, far), "{hook:?} with another daemon");
            assert!(talks(far, near), "{hook:?} with another daemon");
        }
        assert_eq!(hits(&bed, "served", "AnyTcp"), admitted, "{hook:?}");
        bed.daemon.terminate(Signal::SIGTERM).unwrap();
        assert!(bed.daemon.output(&["down"]).unwrap().status.success());
        assert_eq!(bed.pins(), Vec::<PathBuf>::new(), "{hook:?}");
    });
}

/// `time,source,destination,ports,protocol,direction,state,…` of every line.
fn tuples(log: &str) -> Vec<(String, String, Vec<String>)> {
    let mut tuples = Vec::new();
    for line in log.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["flowLogVersion"], 4, "{line}");
        let mac = record["macAddress"].as_str().unwrap();
        for acl in record["flowRecords"]["flows"].as_array().unwrap() {
            for group in acl["flowGroups"].as_array().unwrap() {
                for tuple in group["flowTuples"].as_array().unwrap() {
                    let fields = tuple.as_str().unwrap().split(',').map(str::to_owned);
                    let rule = group["rule"].as_str().unwrap();
                    tuples.push((mac.to_owned(), rule.to_owned(), fields.collect()));
                }
            }
        }
    }
    tuples
}

/// A file that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("vnet-gw-flows-{}-{name}.json", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn flows_are_logged() {
    at_both_hooks(|hook| {
        let scratch = Scratch::new(hook.name());
        let log = &scratch.0;
        let args = ["--ephemeral", "--flow-log", log.to_str().unwrap()];
        let template = template(true, false);
        let mut bed = Bed::start_with(&template, hook, &args, |_, _| Ok(())).unwrap();
        let far = bed.workload("db").ipv6().unwrap();
        let (mut near, mut away) = connect(&bed, "web", "db", far).unwrap();
        assert!(talks(&mut near, &mut away));
        let web = bed.workload("web").ipv4().unwrap();
        let unasked = udp(&bed, "db", bed.workload("db").ipv4().unwrap(), 9);
        let target = udp(&bed, "web", web, 99);
        assert!(!arrives(&unasked, &target, b"?", SILENCE));
        let port = near.local_addr().unwrap().port().to_string();
        let read = || fs::read_to_string(log).unwrap();
        let begun = |state: &'static str| {
            let port = port.clone();
            move |(_, _, fields): &&(String, String, Vec<String>)| {
                fields[3] == port && fields[7] == state
            }
        };
        bed.wait(|| Ok(tuples(&read()).iter().any(|one| begun("B")(&one))))
            .unwrap();
        let told = tuples(&read());
        let of: Vec<_> = told.iter().filter(begun("B")).collect();
        let rules: Vec<_> = of
            .iter()
            .map(|(_, rule, fields)| (rule.as_str(), fields[6].as_str()))
            .collect();
        assert!(rules.contains(&("UserRule_AnyTcp", "I")), "{rules:?}");
        assert!(
            rules.contains(&("DefaultRule_AllowVnetOutBound", "O")),
            "{rules:?}"
        );
        assert!(of.iter().all(|(_, _, fields)| fields.len() == 13), "{of:?}");
        let refused = told
            .iter()
            .find(|(_, _, fields)| fields[7] == "D" && fields[4] == "99");
        let (_, rule, fields) = refused.expect("the datagram that was refused");
        assert_eq!(
            (rule.as_str(), fields[6].as_str()),
            ("UserRule_Nobody", "I")
        );

        drop((near, away));
        bed.wait(|| Ok(tuples(&read()).iter().any(|one| begun("E")(&one))))
            .unwrap();
        let told = tuples(&read());
        let (_, _, end) = told.iter().find(begun("E")).unwrap();
        let sent: u64 = end[9].parse().unwrap();
        let bytes: u64 = end[10].parse().unwrap();
        assert!(sent >= 4 && bytes >= sent * 60, "{end:?}");
        bed.daemon.terminate(Signal::SIGTERM).unwrap();
    });
}
