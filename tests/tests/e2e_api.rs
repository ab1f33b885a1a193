//! The API of a running daemon, asked by hand over HTTPS and the Unix socket: what is malformed,
//! too large, a trick or not allowed is an error in ARM's envelope, and changes nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use vnet_gw_lab::{Lab, Netns};
use vnet_gw_tests::{
    api_bed::{ADDRESS, ApiBed},
    bed::binary,
    http::{API_VERSION, Answer, SUBSCRIPTION, Server, virtual_network},
};

fn network(of: &str) -> String {
    format!("{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Network/{of}")
}

fn bed(lab: &Lab) -> ApiBed {
    let bed = ApiBed::start(lab, &binary("vnet-gw").unwrap(), "api").unwrap();
    for (path, body) in [
        (
            format!("{SUBSCRIPTION}/resourceGroups/rg"),
            json!({"location": "westeurope"}),
        ),
        (network("virtualNetworks/V1"), virtual_network(1, 0)),
        (network("routeTables/t"), json!({"location": "westeurope"})),
    ] {
        let made = bed.unix.ask("PUT", &path, Some(&body)).unwrap();
        assert_eq!(made.status, 201, "{:?}", made.json());
    }
    bed
}

/// From inside the daemon's namespace.
fn within<T: Send>(host: &Netns, work: impl FnOnce() -> T + Send) -> T {
    host.enter(work).unwrap()
}

/// Everything there is, with its etags.
fn everything(server: &Server) -> Vec<Value> {
    let lists = [
        format!("{SUBSCRIPTION}/resourceGroups"),
        format!("{SUBSCRIPTION}/resources"),
        network("virtualNetworks"),
        network("routeTables"),
    ];
    let get = |path: &String| {
        let answer = server.ask("GET", path, None).unwrap();
        assert_eq!(answer.status, 200, "{path}");
        answer.json().unwrap()
    };
    lists.iter().map(get).collect()
}

#[track_caller]
fn in_envelope(answer: &Answer, status: u16, what: &str) {
    let body = answer.json().unwrap();
    assert_eq!(answer.status, status, "{what}: {body}");
    for name in ["code", "message"] {
        let text = body.pointer(&format!("/error/{name}"));
        let text = text.and_then(Value::as_str).unwrap_or_default();
        assert!(!text.is_empty(), "{what}: {body}");
    }
    assert!(answer.header("x-ms-request-id").is_some(), "{what}");
}

fn bad_bodies(server: &Server) {
    let path = format!(
        "{}?api-version={API_VERSION}",
        network("virtualNetworks/V1")
    );
    let before = everything(server);
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let nested = format!("{}1{}", "{\"properties\":".repeat(65), "}".repeat(65));
    let large = format!("{{\"location\":\"{}\"}}", "x".repeat(5 << 20));
    let wrong =
        json!({"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": 7}}});
    for (what, kind, body, status) in [
        ("nothing", "application/json", "", 400),
        ("half", "application/json", "{\"location\":", 400),
        ("a list", "application/json", "[]", 400),
        ("no UTF-8", "application/json", "{\"a\":\"\u{0}\"}", 400),
        ("deep", "application/json", deep.as_str(), 400),
        ("nested", "application/json", nested.as_str(), 400),
        ("too large", "application/json", large.as_str(), 413),
        (
            "of the wrong type",
            "application/json",
            &wrong.to_string(),
            400,
        ),
        ("XML", "application/xml", "<a/>", 415),
    ] {
        let mut connection = server.connect().unwrap();
        let headers = [("content-type", kind)];
        let answer = connection.send("PUT", &path, &headers, body.as_bytes());
        in_envelope(&answer.unwrap(), status, what);
        assert_eq!(everything(server), before, "{what}");
    }
}

fn tricks(server: &Server) {
    let before = everything(server);
    let groups = format!("{SUBSCRIPTION}/resourceGroups");
    for path in [
        "/../../etc/passwd".to_owned(),
        "/%2e%2e/%2e%2e/etc/passwd".to_owned(),
        format!("{groups}/rg/../rg2"),
        format!("{groups}/rg%2f..%2frg2"),
        format!("{groups}/rg%00"),
        format!("{groups}/rg%0d%0aset-cookie:x"),
        format!("{groups}/%ff"),
        format!("{groups}/{}", "a".repeat(4000)),
        network("virtualNetworks/%2e%2e"),
        network("virtualNetworks/a/b/c/d/e/f"),
        network("nothings/x"),
    ] {
        for method in ["GET", "PUT", "DELETE", "POST", "TRACE"] {
            let body = json!({"location": "local"});
            let body = matches!(method, "PUT" | "POST").then_some(&body);
            let answer = server.ask(method, &path, body).unwrap();
            let what = format!("{method} {path}");
            assert!((400..500).contains(&answer.status), "{what}");
            in_envelope(&answer, answer.status, &what);
        }
    }
    assert_eq!(everything(server), before);
}

#[test]
fn what_is_malformed_or_a_trick_changes_nothing() {
    let lab = Lab::new().unwrap();
    let bed = bed(&lab);
    for server in [&bed.unix, &bed.tls] {
        within(&bed.host, || {
            bad_bodies(server);
            tricks(server);
        });
    }
    let log = bed.daemon.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn who_may_not_changes_nothing() {
    let lab = Lab::new().unwrap();
    let mut bed = bed(&lab);
    let reader = bed.principal("reader", "Reader").unwrap();
    let before = everything(&bed.unix);
    let path = network("virtualNetworks/V1");
    let body = virtual_network(2, 0);
    within(&bed.host, || {
        for (token, status) in [
            ("", 401),
            ("x", 401),
            ("eyJhbGciOiJub25lIn0.eyJhdWQiOiJ4In0.", 401),
        ] {
            let server = bed.tls.with_token(token);
            for (method, body) in [("GET", None), ("PUT", Some(&body)), ("DELETE", None)] {
                let answer = server.ask(method, &path, body).unwrap();
                in_envelope(&answer, status, &format!("{method} of {token:?}"));
                let challenge = answer.header("www-authenticate").unwrap_or_default();
                assert!(challenge.starts_with("Bearer "), "{challenge}");
            }
        }
        assert_eq!(reader.ask("GET", &path, None).unwrap().status, 200);
        for (method, body) in [("PUT", Some(&body)), ("DELETE", None)] {
            let answer = reader.ask(method, &path, body).unwrap();
            in_envelope(&answer, 403, method);
        }
        let admin = bed.tls.ask("GET", "/vnet-gw/principals", None).unwrap();
        in_envelope(&admin, 403, "the administrator's over the network");
    });
    assert_eq!(everything(&bed.unix), before);
}

#[test]
fn connections_are_kept_and_those_that_wait_make_room() {
    let lab = Lab::new().unwrap();
    let bed = bed(&lab);
    let path = network("virtualNetworks/V1");
    within(&bed.host, || {
        let mut kept = bed.tls.connect().unwrap();
        for _ in 0..20 {
            assert_eq!(kept.ask("GET", &path, None).unwrap().status, 200);
        }
        // More than there are places, and none of them says a word of TLS.
        let silent: Vec<TcpStream> = (0..600)
            .map(|_| {
                let mut stream = TcpStream::connect(ADDRESS).unwrap();
                stream.write_all(b"\x16").unwrap();
                stream
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        assert_eq!(bed.tls.ask("GET", &path, None).unwrap().status, 200);
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
        drop(silent);
    });
}

#[test]
fn an_address_that_is_taken_is_told() {
    let lab = Lab::new().unwrap();
    let bed = bed(&lab);
    let name = lab.instance("second").unwrap();
    let mut command = bed.host.command(bed.daemon.binary());
    command
        .args(["run", "--ephemeral", "--listen", ADDRESS])
        .args(["--instance", &name]);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert!(
        told.contains(ADDRESS) && told.contains("--listen off"),
        "{told}"
    );
}

#[test]
fn the_command_line_asks_as_a_client_does() {
    let lab = Lab::new().unwrap();
    let bed = bed(&lab);
    let run = |args: &[&str]| {
        let output = bed.daemon.command(args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let value = match text.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&text).unwrap(),
        };
        (output.status.success(), value)
    };
    let path = network("virtualNetworks/V1");
    let (good, mut shown) = run(&["rest", "get", &path]);
    assert!(good && shown["name"] == "V1");
    let file = lab.dir().join("vnet.json");
    let mut etags = vec![shown["etag"].clone()];
    for _ in 0..2 {
        std::fs::write(&file, shown.to_string()).unwrap();
        let (good, again) = run(&["rest", "put", &path, "--body", file.to_str().unwrap()]);
        assert!(good, "{again}");
        etags.push(again["etag"].clone());
        shown = again;
    }
    // The first time, what was shown by default becomes what was said; the second time, nothing.
    assert_eq!(etags[1], etags[2]);
    let group = format!("{SUBSCRIPTION}/resourceGroups/rg");
    let (good, gone) = run(&["rest", "DELETE", &group]);
    assert!(good, "{gone}");
    let (good, error) = run(&["rest", "get", &path]);
    assert!(!good);
    assert_eq!(error["error"]["code"], "ResourceGroupNotFound");
}
