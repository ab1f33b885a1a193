//! The API: requests of somebody who may do everything, against a router with an engine and a store
//! in memory, and without a data path.
//!
//! An input is requests, divided by NULs. The first line of each is its method and path, in which
//! `$S`, `$G` and `$N` stand for a subscription, a group in it, and Microsoft.Network in that; what
//! follows is the body.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Body,
    http::{Request, Uri, header},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::{runtime::Runtime, sync::mpsc};
use tower::ServiceExt;
use vnet_gw::{
    api::{self, Api, Operations, Peer, Settings},
    engine::{EngineOptions, Running, Who, Writer},
    identity::{Access, Authenticator, Denied},
    store::MemoryStore,
};
use vnet_gw_core::arm::State;

const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000000";
/// Of one input.
const MOST_REQUESTS: usize = 12;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}"))
});

/// Nobody comes over the network.
struct Nobody;

impl Authenticator for Nobody {
    fn bearer(&self, _: &str, _: std::net::SocketAddr) -> Result<(Who, Access), Denied> {
        Err(Denied {
            status: 401,
            code: "AuthenticationFailed".to_owned(),
            message: "Nobody.".to_owned(),
            retry_after_seconds: None,
        })
    }
}

struct Bed {
    router: Router,
    running: Running,
}

/// Requests, one after the other. None breaks anything, what is refused changes nothing, and what is
/// shown may be written back.
pub fn router(data: &[u8]) {
    RUNTIME.block_on(async {
        let bed = Bed::new();
        for request in data.split(|byte| *byte == 0).take(MOST_REQUESTS) {
            bed.request(request).await;
        }
        bed.running.end();
    });
}

impl Bed {
    fn new() -> Self {
        let writer = Writer::open(Arc::new(MemoryStore::new()), EngineOptions::default());
        let started = writer.map(Writer::start);
        let Ok(Ok((running, deliveries))) = started else {
            panic!("no engine");
        };
        deliveries.carry_all();
        let (questions, _) = mpsc::channel(1);
        let api = Api {
            engine: running.engine.clone(),
            questions,
            authenticator: Arc::new(Nobody),
            operations: Operations::default(),
            settings: Settings {
                subscription: SUBSCRIPTION
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                tenant: "tenant".to_owned(),
                location: "local".to_owned(),
                host: None,
                internet: false,
            },
            administration: Router::new(),
            metrics: api::ApiMetrics::default(),
            circles: api::Circles::default(),
        };
        Self {
            router: api::router(Arc::new(api), Router::new()),
            running,
        }
    }

    fn state(&self) -> Arc<State> {
        self.running.engine.state()
    }

    async fn request(&self, text: &[u8]) {
        let end = text.iter().position(|byte| *byte == b'\n');
        let (line, body) = text.split_at(end.unwrap_or(text.len()));
        let body = body.get(1..).unwrap_or_default();
        let Ok(line) = std::str::from_utf8(line) else {
            return;
        };
        let (method, path) = line.split_once(' ').unwrap_or(("GET", line));
        let group = format!("{SUBSCRIPTION}/resourceGroups/rg");
        let path = path
            .replace("$N", &format!("{group}/providers/Microsoft.Network"))
            .replace("$G", &group)
            .replace("$S", SUBSCRIPTION);
        let path = match path.contains('?') {
            true => path,
            false => format!("{path}?api-version=1"),
        };
        let before = self.state();
        let Some((status, answer)) = self.ask(method, &path, body.to_vec()).await else {
            return;
        };
        let after = self.state();
        if status >= 400 {
            let code = answer.pointer("/error/code").and_then(Value::as_str);
            let message = answer.pointer("/error/message").and_then(Value::as_str);
            let told = code.is_some_and(|code| !code.is_empty()) && message.is_some();
            assert!(
                told || method == "HEAD",
                "{status} without an envelope: {answer}"
            );
            assert!(
                before.documents.ptr_eq(&after.documents)
                    && Arc::ptr_eq(&before.groups, &after.groups)
                    && Arc::ptr_eq(&before.keys, &after.keys),
                "refused, and something changed: {method} {path}: {answer}"
            );
        }
        // Nothing says that it is the tunnels that are missing, but that nobody answers for them.
        assert!(status < 500 || status == 503, "{status}: {answer}");
        if method == "PUT" && status < 300 && answer.get("etag").is_some() {
            self.write_back(&path, answer.get("etag")).await;
        }
    }

    /// What GET shows can be PUT, and shows the same again; from the second time on nothing is new,
    /// not even the ETag: what was shown by default has been said.
    async fn write_back(&self, path: &str, etag: Option<&Value>) {
        let Some((200, mut shown)) = self.ask("GET", path, Vec::new()).await else {
            panic!("what was PUT is not there: {path}");
        };
        assert_eq!(shown.get("etag"), etag, "{path}");
        for turn in 0..2 {
            let Some((status, again)) = self.ask("PUT", path, shown.to_string().into()).await
            else {
                return;
            };
            assert_eq!(status, 200, "{path}: {shown} written back: {again}");
            if turn == 1 {
                assert_eq!(settled(&again), settled(&shown), "{path}");
            }
            shown = again;
        }
    }

    /// Nothing where it is no request that HTTP can carry.
    async fn ask(&self, method: &str, path: &str, body: Vec<u8>) -> Option<(u16, Value)> {
        let uri: Uri = path.parse().ok()?;
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .extension(Peer::Local(Who::File, Access::everything()))
            .body(Body::from(body))
            .ok()?;
        let Ok(response) = self.router.clone().oneshot(request).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        if bytes.is_empty() {
            return Some((status, Value::Null));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Some((status, value)),
            Err(error) => panic!("an answer that is no JSON: {error}"),
        }
    }
}

/// Whether the data path carries it yet is no matter here.
fn settled(shown: &Value) -> String {
    let updating = r#""provisioningState":"Updating""#;
    shown
        .to_string()
        .replace(updating, r#""provisioningState":"Succeeded""#)
}
