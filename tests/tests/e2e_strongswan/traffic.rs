//! Our daemon and strongSwan with traffic between them: suites, rekeys, deletes, restarts.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use serde_json::json;
use vnet_gw_lab::{
    probe::{Capture, Flow, FlowReport},
    strongswan::{Child, Connection},
};
use vnet_gw_tests::site::{CHILD, IKE, MACHINE, PATIENCE, SiteBed, WORKLOAD, peer, policy, usual};

/// One bed for all tests, which take turns.
fn bed() -> MutexGuard<'static, SiteBed> {
    static BED: OnceLock<Mutex<SiteBed>> = OnceLock::new();
    let bed = BED.get_or_init(|| match SiteBed::start() {
        Ok(bed) => Mutex::new(bed),
        Err(error) => panic!("{error:#}"),
    });
    bed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn good<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

/// A flow each way.
struct Flows([Flow; 2]);

impl Flows {
    fn start(bed: &SiteBed) -> Self {
        Self::start_at(bed, 500)
    }

    fn start_at(bed: &SiteBed, per_second: u32) -> Self {
        let (near, far) = (&bed.workload.netns, &bed.machine);
        let flow = |from, to, address: &str| {
            good(Flow::start(from, to, address.parse().unwrap(), per_second))
        };
        let flows = Self([flow(near, far, MACHINE[0]), flow(far, near, WORKLOAD[1])]);
        thread::sleep(Duration::from_millis(300));
        flows
    }

    fn finish(self) -> [FlowReport; 2] {
        thread::sleep(Duration::from_millis(300));
        self.0.iter().for_each(Flow::stop);
        self.0.map(|flow| good(flow.finish()))
    }

    fn assert_whole(self, what: &str, bed: &SiteBed) {
        for (report, direction) in self.finish().iter().zip(["to the site", "from the site"]) {
            assert!(
                report.is_whole(),
                "{what}, {direction}: {report}\nthe daemon:\n{}\n{:#}\ncharon:\n{}",
                bed.daemon.log(),
                bed.connection().unwrap(),
                bed.swan.log()
            );
        }
    }
}

fn with_child(change: impl Fn(&mut Child)) -> Connection {
    let mut connection = peer();
    connection.children.iter_mut().for_each(change);
    connection
}

/// Suites of ESP with traffic. Those that our side offers without a policy first, then those that a
/// policy must name; strongSwan initiates every other one.
#[test]
fn every_esp_suite_carries_traffic() {
    let bed = bed();
    let free = [
        "aes256gcm16",
        "chacha20poly1305",
        "aes128gcm16",
        "aes256-sha256",
        "aes128-sha256",
        "aes256-sha1",
        "aes128-sha1",
    ];
    let named = [
        ("aes192gcm16", ("GCMAES192", "GCMAES192")),
        ("aes192-sha256", ("AES192", "SHA256")),
        ("aes192-sha1", ("AES192", "SHA1")),
    ];
    let free = free.map(|suite| (suite, None));
    let named = named.map(|(suite, esp)| (suite, Some(esp)));
    for (i, (suite, esp)) in free.into_iter().chain(named).enumerate() {
        let we_initiate = i % 2 == 0;
        let mut more = json!({
            "connectionMode": if we_initiate { "InitiatorOnly" } else { "ResponderOnly" },
        });
        if let Some(esp) = esp {
            let ike = ("AES256", "SHA256", "DHGroup14");
            more["ipsecPolicies"] = policy(ike, esp, "None", 27_000, 102_400_000);
        }
        let their = with_child(|child| child.proposals = vec![suite.to_owned()]);
        good(bed.set(&usual(more), &[their]));
        if !we_initiate {
            good(bed.swan.initiate(CHILD, PATIENCE));
        }
        good(bed.connected());
        let capture = good(Capture::start(&bed.underlay));
        good(bed.assert_reachable());
        let captured = good(capture.finish());
        assert!(
            captured.is_clean() && captured.esp_in_udp > 100,
            "{suite}: {captured}: {:#?}",
            captured.examples
        );
        let connection = good(bed.connection());
        for key in ["ingressBytesTransferred", "egressBytesTransferred"] {
            assert!(
                connection[key].as_u64().unwrap() > 512 << 10,
                "{suite}: {connection:#}"
            );
        }
        println!("{suite}: {captured}");
    }
}

#[test]
fn rekeys_of_both_sides_lose_nothing() {
    let bed = bed();
    // Ours by the least amount of data that Azure takes, in a group of their own.
    let ike = ("GCMAES256", "GCMAES256", "ECP384");
    let esp = ("GCMAES256", "GCMAES256");
    let more = json!({"ipsecPolicies": policy(ike, esp, "ECP256", 27_000, 1_024)});
    let their = Connection {
        proposals: vec!["aes256gcm16-prfsha384-ecp384".to_owned()],
        ..with_child(|child| child.proposals = vec!["aes256gcm16-ecp256".to_owned()])
    };
    good(bed.set(&usual(more), &[their]));
    good(bed.connected());
    let flows = Flows::start(&bed);
    let spi = |bed: &SiteBed| {
        let sas = good(bed.swan.sas());
        let mut children = sas.iter().flat_map(|sa| sa.installed());
        children.next().map(|child| child.spi_in.clone())
    };
    let another = |before: &Option<String>| {
        good(bed.swan.wait(PATIENCE, |sas| {
            let now: Vec<_> = sas.iter().flat_map(|sa| sa.installed()).collect();
            now.len() == 1 && Some(&now[0].spi_in) != before.as_ref()
        }));
    };
    // 500 × 92 bytes a second: a rekey of ours every 20 s or so, unless theirs come first.
    for _ in 0..3 {
        let before = spi(&bed);
        good(bed.swan.rekey_child(CHILD));
        another(&before);
        thread::sleep(Duration::from_millis(200));
    }
    for _ in 0..3 {
        let before = good(bed.swan.sas());
        good(bed.swan.rekey_ike(IKE));
        good(bed.swan.wait(PATIENCE, |sas| {
            sas.len() == 1 && sas[0].is_established() && sas[0].id != before[0].id
        }));
        thread::sleep(Duration::from_millis(200));
    }
    flows.assert_whole("strongSwan rekeyed", &bed);

    // Now enough for ours: a MiB every five seconds or so.
    let flows = Flows::start_at(&bed, 2000);
    for _ in 0..2 {
        another(&spi(&bed));
    }
    flows.assert_whole("we rekeyed", &bed);
}

#[test]
fn deletes_are_followed_by_a_new_tunnel() {
    let bed = bed();
    good(bed.set(&usual(json!({})), &[peer()]));
    good(bed.connected());
    let flows = Flows::start(&bed);
    good(bed.swan.terminate_child(CHILD));
    good(bed.connected());
    good(bed.assert_reachable());
    good(bed.swan.terminate(IKE));
    good(bed.connected());
    good(bed.assert_reachable());
    for report in flows.finish() {
        // What was on its way when the peer closed is lost, and seconds are not.
        assert!(
            report.received > 0 && report.longest_loss() < 1500,
            "{report}"
        );
    }
}

#[test]
fn either_side_may_restart() {
    let mut bed = bed();
    good(bed.set(&usual(json!({"dpdTimeoutSeconds": 9})), &[peer()]));
    good(bed.connected());
    good(bed.assert_reachable());

    // Ours dies without a word, and is back.
    good(bed.daemon.kill());
    good(bed.daemon.launch());
    good(bed.connected());
    good(bed.assert_reachable());
    // INITIAL_CONTACT: the old SA is gone.
    good(bed.swan.wait(PATIENCE, |sas| sas.len() == 1));

    // Ours ends in order: strongSwan is told.
    good(bed.daemon.terminate(nix::sys::signal::Signal::SIGTERM));
    good(bed.swan.wait(PATIENCE, |sas| sas.is_empty()));
    good(bed.daemon.launch());
    good(bed.connected());
    good(bed.assert_reachable());

    // strongSwan dies without a word, is back, and calls.
    good(bed.swan.kill());
    good(bed.swan.launch());
    good(bed.swan.initiate(CHILD, PATIENCE));
    good(bed.assert_reachable());

    // The same, and it waits: we must notice.
    good(bed.swan.kill());
    good(bed.swan.launch());
    let patience = Duration::from_secs(60);
    good(bed.swan.wait(patience, |sas| {
        sas.iter().any(|sa| sa.installed().next().is_some())
    }));
    good(bed.connected());
    good(bed.assert_reachable());

    // strongSwan ends in order.
    good(bed.swan.stop());
    good(bed.wait(PATIENCE, |row| row["connectionStatus"] != "Connected"));
    good(bed.assert_unreachable());
    good(bed.swan.launch());
    good(bed.connected());
    good(bed.assert_reachable());
}
