//! Network Watcher's `connectivityCheck`: what it predicts, and its probes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use vnet_gw_core::probe::{Answer, Outcome, Statistics};

use super::{
    Bed, Told, network,
    watcher::{ask, bed, compute, furnished, nic, watcher},
};
use crate::{control::Asked, probe::ProbeReport};

/// What a long operation comes to.
async fn result(bed: &Bed, begun: &Told) -> Value {
    let path = |name: &str| {
        let url = begun.is(202).header(name);
        url[url.find("/subscriptions/").unwrap()..].to_owned()
    };
    let ended = bed.get(&path("azure-asyncoperation")).await;
    assert_eq!(ended.is(200).body["status"], "Succeeded");
    bed.get(&path("location")).await.is(200).body.clone()
}

#[tokio::test]
async fn connectivity_hop_by_hop() {
    let bed = bed().await;
    let check = async |destination: Value, protocol: &str| {
        let body = json!({
            "source": {"resourceId": compute("virtualMachines/web")},
            "destination": destination,
            "protocol": protocol,
        });
        let begun = ask(&bed, "connectivityCheck", body).await;
        result(&bed, &begun).await
    };
    // far is not plugged in.
    let to = json!({"resourceId": network("networkInterfaces/far"), "port": 80});
    let far = check(to, "Tcp").await;
    assert_eq!(far["connectionStatus"], "Disconnected");
    assert_eq!(far["hops"][0]["type"], "Source");
    assert_eq!(
        far["hops"][0]["resourceId"],
        network("networkInterfaces/web/ipConfigurations/one")
    );
    let issue = &far["hops"][0]["issues"][0];
    assert_eq!(issue["type"], "Platform");
    assert_eq!(
        issue["context"],
        json!([{"key": "Reason", "value": "port_down"}])
    );
    let mut there = nic("V2/subnets/a", "10.2.0.4", json!({"vnet-gw:device": "far"}));
    there["tags"]["vnet-gw:vm"] = json!("box");
    bed.put(&network("networkInterfaces/far"), there)
        .await
        .is(200);
    let far = check(json!({"address": "10.2.0.4"}), "Icmp").await;
    assert_eq!(far["connectionStatus"], "Connected");
    let types: Vec<_> = far["hops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hop| &hop["type"])
        .collect();
    assert_eq!(types, ["Source", "VirtualMachine"]);
    // Nothing was sent: nothing is said of it.
    assert!(far.get("probesSent").is_none() && far.get("avgLatencyInMs").is_none());
    let black = check(json!({"address": "10.9.0.1"}), "Icmp").await;
    assert_eq!(black["hops"][0]["issues"][0]["type"], "UserDefinedRoute");

    for (body, told) in [
        (json!({}), "source is missing"),
        (
            json!({"source": {"resourceId": compute("virtualMachines/web")}}),
            "destination is missing",
        ),
        (
            json!({"source": {"resourceId": compute("virtualMachines/web")},
                "destination": {"address": "10.2.0.4"}, "protocol": "Tcp"}),
            "destination.port is missing",
        ),
        (
            json!({"source": {"resourceId": compute("virtualMachines/web")},
                "destination": {"address": "fd00::1"}}),
            "no address of the destination's family",
        ),
        (
            json!({"source": {"resourceId": compute("virtualMachines/web")}, "destination": {}}),
            "needs an address or a resourceId",
        ),
    ] {
        let refused = ask(&bed, "connectivityCheck", body.clone()).await;
        let message = &refused.is(400).body["error"]["message"];
        assert!(
            message.as_str().unwrap().contains(told),
            "{body}: {message}"
        );
    }
}

/// Every probe is answered after 2.4 ms.
async fn answer_probes(mut asked: mpsc::Receiver<Asked>) {
    while let Some(asked) = asked.recv().await {
        let Asked::Probe { spec, answer } = asked else {
            continue;
        };
        let after = Duration::from_micros(2_400);
        let answered = Outcome::Answered {
            answer: Answer::Reply,
            after,
        };
        let outcomes = vec![answered; usize::from(spec.count)];
        let statistics = Statistics::of(&outcomes);
        let report = ProbeReport {
            outcomes,
            statistics,
        };
        answer.send(Ok(report)).unwrap();
    }
}

#[tokio::test]
async fn probes_are_sent_for_whoever_may_write() {
    let (questions, asked) = mpsc::channel(1);
    tokio::spawn(answer_probes(asked));
    let bed = furnished(Bed::asking(questions).and_group().await).await;
    let body = json!({
        "source": {"resourceId": compute("virtualMachines/web")},
        "destination": {"resourceId": network("networkInterfaces/far"), "port": 80},
        "protocol": "Http",
    });
    let path = watcher("/connectivityCheck");
    let begun = bed.ask("POST", &path, Some(body.clone())).await;
    let told = result(&bed, &begun).await;
    // The resources say otherwise, and the probes count for more.
    assert_eq!(told["connectionStatus"], "Connected", "{told:#}");
    assert_eq!(
        (&told["probesSent"], &told["probesFailed"]),
        (&json!(10), &json!(0))
    );
    for latency in ["minLatencyInMs", "avgLatencyInMs", "maxLatencyInMs"] {
        assert_eq!(told[latency], 2);
    }
    assert_eq!(told["hops"][0]["issues"][0]["severity"], "Warning");

    let begun = bed.ask_as("reader", "POST", &path, Some(body)).await;
    let url = begun.is(202).header("location");
    let path = url[url.find("/subscriptions/").unwrap()..].to_owned();
    let told = bed.ask_as("reader", "GET", &path, None).await;
    let told = &told.is(200).body;
    assert_eq!(told["connectionStatus"], "Disconnected", "{told:#}");
    assert!(told.get("probesSent").is_none() && told.get("avgLatencyInMs").is_none());
}
