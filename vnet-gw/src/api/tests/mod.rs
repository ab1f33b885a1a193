//! The router over a real engine and a store in memory, without sockets and without a data path.

mod bad;
mod circles;
mod connectivity;
mod deployments;
mod resources;
mod watcher;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request},
    routing::get,
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::{Api, ApiMetrics, Circles, Operations, Peer, Settings};
use crate::{
    control::Asked,
    engine::{EngineOptions, Running, Who, Writer},
    identity::{Access, Authenticator, Denied, Role},
    store::MemoryStore,
};

const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000000";

/// Knows the tokens `root`, `reader`, and `group`, a contributor to the group `mine`.
struct Tokens;

impl Authenticator for Tokens {
    fn bearer(&self, token: &str, _: std::net::SocketAddr) -> Result<(Who, Access), Denied> {
        let access = match token {
            "root" => Access::everything(),
            "reader" => Access::looking(),
            "group" => Access::at(
                &format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/mine"),
                Role::NetworkContributor,
            ),
            "panic" => panic!("a defect"),
            _ => {
                return Err(Denied {
                    status: 401,
                    code: "InvalidAuthenticationToken".to_owned(),
                    message: "The access token is invalid.".to_owned(),
                    retry_after_seconds: None,
                });
            }
        };
        let who = Who::Principal {
            client_id: token.to_owned(),
            name: token.to_owned(),
        };
        Ok((who, access))
    }
}

struct Bed {
    router: Router,
    api: Arc<Api>,
    _running: Running,
}

struct Told {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Told {
    fn code(&self) -> &str {
        let code = self.body.pointer("/error/code").and_then(Value::as_str);
        code.unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    #[track_caller]
    fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }
}

impl Bed {
    fn new() -> Self {
        // Nobody answers for the tunnels.
        Self::asking(mpsc::channel(1).0)
    }

    fn asking(questions: mpsc::Sender<Asked>) -> Self {
        let writer = Writer::open(Arc::new(MemoryStore::new()), EngineOptions::default());
        let (running, deliveries) = writer.unwrap().start().unwrap();
        deliveries.carry_all();
        let api = Arc::new(Api {
            engine: running.engine.clone(),
            questions,
            authenticator: Arc::new(Tokens),
            operations: Operations::default(),
            settings: Settings {
                subscription: SUBSCRIPTION.to_owned(),
                tenant: "tenant".to_owned(),
                location: "local".to_owned(),
                host: None,
                internet: false,
            },
            administration: Router::new().route("/vnet-gw/principals", get(|| async { "{}" })),
            metrics: ApiMetrics::default(),
            circles: Circles::default(),
        });
        let open = Router::new().route("/open", get(|| async { "{}" }));
        Self {
            router: super::router(Arc::clone(&api), open),
            api,
            _running: running,
        }
    }

    /// With a group `rg` in `westeurope`.
    async fn with_group() -> Self {
        Self::new().and_group().await
    }

    async fn and_group(self) -> Self {
        let bed = self;
        let path = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg");
        bed.put(&path, json!({"location": "West Europe"}))
            .await
            .is(201);
        bed
    }

    async fn send(&self, request: Request<Body>) -> Told {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).unwrap(),
        };
        Told {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    /// As root, over the network.
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Told {
        self.ask_as("root", method, path, body).await
    }

    async fn ask_as(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Told {
        let mut request = request(token, method, path);
        if let Some(body) = body {
            *request.body_mut() = Body::from(body.to_string());
            let json = "application/json".parse().unwrap();
            request.headers_mut().insert("content-type", json);
        }
        self.send(request).await
    }

    async fn get(&self, path: &str) -> Told {
        self.ask("GET", path, None).await
    }

    async fn put(&self, path: &str, body: Value) -> Told {
        self.ask("PUT", path, Some(body)).await
    }
}

fn request(token: &str, method: &str, path: &str) -> Request<Body> {
    let versioned = match path.contains("api-version") {
        true => path.to_owned(),
        false if path.contains('?') => format!("{path}&api-version=2024-07-01"),
        false => format!("{path}?api-version=2024-07-01"),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(versioned)
        .header("host", "127.0.0.1:8443");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request
        .extension(Peer::Network("127.0.0.1:40000".parse().unwrap()))
        .body(Body::empty())
        .unwrap()
}

/// Below the group `rg`.
fn network(path: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Network/{path}")
}

fn vnet(prefix: &str) -> Value {
    json!({
        "location": "westeurope",
        "properties": { "addressSpace": { "addressPrefixes": [prefix] } },
    })
}
