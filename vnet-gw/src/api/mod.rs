//! Azure Resource Manager's REST API over HTTPS and a Unix socket (`azure-semantics.md`, D).
//!
//! ```text
//! listeners (server) ─► ids, panics, log line (envelope) ─► identity's own routes, no token needed
//!                                                        └► who (gate) ─► what (route) ─► a handler
//! handlers: GET shows engine.state(); what changes something is submitted to the engine, durable
//!           before it is answered, and carried out before it is called Succeeded
//! ```
//!
//! It has a thread and a runtime of its own: however many clients ask, the daemon's loop and the
//! tunnels do not wait. Fixed words of a path compare without case; any `api-version` is served.

mod actions;
mod activity;
mod body;
mod call;
mod changes;
mod circles;
pub mod client;
mod deployments;
mod directory;
mod envelope;
mod filter;
mod gate;
mod groups;
mod lists;
mod live;
mod local;
mod metrics;
mod operations;
mod path;
mod providers;
mod refusal;
mod resources;
mod route;
mod server;
mod start;
mod tags;
#[cfg(test)]
mod tests;
mod watcher;

pub use call::{Call, Peer, Query, RequestIds};
pub use circles::Circles;
pub use metrics::ApiMetrics;
pub use operations::{Begun, Operations, Outcome};
pub use path::Path;
pub use refusal::{Answer, Refusal};
pub use server::{Listen, ListenError, Server};
pub use start::{Addresses, ApiOptions, DEFAULT, Place, Serving, start};

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::from_fn,
    response::{IntoResponse, Response},
};
use tokio::sync::mpsc;

use vnet_gw_core::arm::Target;

use crate::{
    control::Asked,
    engine::{Engine, activity::ActivityStatus},
    identity::Authenticator,
};
use route::Route;

/// What the API answers from. One a daemon.
pub struct Api {
    pub engine: Engine,
    /// To the daemon's loop.
    pub questions: mpsc::Sender<Asked>,
    pub authenticator: Arc<dyn Authenticator>,
    pub operations: Operations,
    pub settings: Settings,
    /// [`identity::admin`](crate::identity::admin), or nothing.
    pub administration: Router,
    pub metrics: ApiMetrics,
    pub circles: Circles,
}

/// What an operator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Shown whether or not anything is in it.
    pub subscription: String,
    pub tenant: String,
    /// The location of this host, for lists of locations.
    pub location: String,
    /// What this host is called, as in the tag `vnet-gw:host`.
    pub host: Option<String>,
    /// Whether routes to the internet lead through the host's network stack.
    pub internet: bool,
}

/// The whole API as a service. `open` are routes that need no token. Requests must carry a [`Peer`].
pub fn router(api: Arc<Api>, open: Router) -> Router {
    let metrics = api.metrics.clone();
    open.layer(from_fn(envelope::in_time))
        .fallback(move |request: Request| answer(Arc::clone(&api), request))
        .layer(from_fn(move |request, next| {
            envelope::envelope(metrics.clone(), request, next)
        }))
}

async fn answer(api: Arc<Api>, request: Request) -> Response {
    let (mut who, mut outcome) = (None, None);
    match gate::enter(&api, request).await {
        Ok(call) => {
            who = Some(envelope::Asker(call.caller.who.clone()));
            let served = api.serve(&call).await;
            if let Err(refusal) = &served {
                api.note(&call, refusal);
            }
            outcome = Some(served);
        }
        Err(refusal) => outcome = outcome.or(Some(Err(refusal))),
    }
    let mut response = match outcome {
        Some(Ok(response)) => response,
        Some(Err(refusal)) => refusal.into_response(),
        None => Refusal::ending().into_response(),
    };
    if let Some(who) = who {
        response.extensions_mut().insert(who);
    }
    response
}

impl Api {
    /// A change that was refused before it came to the engine, and whatever was not allowed, stands
    /// in the audit log, too.
    fn note(&self, call: &Call, refusal: &Refusal) {
        let looks = matches!(call.method.as_str(), "GET" | "HEAD" | "POST");
        let forbidden = refusal.status == StatusCode::FORBIDDEN;
        if refusal.noted || !refusal.status.is_client_error() || (looks && !forbidden) {
            return;
        }
        let path = format!("/{}", call.path.segments().join("/"));
        let of = match Target::parse(&path) {
            Ok(target) => target.kind.resource_type(),
            Err(_) => "Microsoft.Resources",
        };
        let what = match call.method.as_str() {
            "PUT" | "PATCH" => "write",
            "DELETE" => "delete",
            "POST" => "action",
            _ => "read",
        };
        self.engine.note(
            call.caller.clone(),
            &format!("{of}/{what}"),
            &path,
            ActivityStatus::Refused,
            &refusal.error.code,
        );
    }

    async fn serve(&self, call: &Call) -> Answer {
        if call.path.lower().first() == Some(&local::PREFIX) {
            return self.local(call).await;
        }
        let route = Route::of(&call.path)?;
        if call.query.get("api-version").is_none_or(str::is_empty) {
            return Err(Refusal::bad(
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            ));
        }
        match route {
            Route::Tenants => self.tenants(call),
            Route::Subscriptions => self.subscriptions(call),
            Route::Subscription(id) => self.subscription(call, &id),
            Route::Locations(id) => self.locations(call, &id),
            Route::Providers(of) => self.providers(call, of.as_deref()),
            Route::Provider(of, namespace) => self.provider(call, of.as_deref(), &namespace),
            Route::Register(of, namespace) => self.register(call, &of, &namespace),
            Route::Nothing => directory::nothing(call),
            Route::Usages(subscription, location) => self.usages(call, &subscription, &location),
            Route::Operation(id) => {
                only(call, &["GET"])?;
                self.operations.state(call, &id).await
            }
            Route::OperationResult(id) => {
                only(call, &["GET"])?;
                self.operations.result(call, &id).await
            }
            Route::Activity(subscription) => self.activity(call, &subscription).await,
            Route::Resources(subscription, group) => {
                self.all_resources(call, &subscription, group.as_ref())
            }
            Route::Groups(subscription) => self.groups(call, &subscription),
            Route::Group(id) => self.group(call, id).await,
            Route::ExportGroup(id) => self.export_group(call, &id).await,
            Route::Deployments(scope, rest) => self.deployments(call, &scope, &rest).await,
            Route::DeploymentOperations(group, rest) => {
                self.deployment_operations(call, &group, &rest).await
            }
            Route::Tags(scope) => self.tags(call, &scope).await,
            Route::Machines(subscription, group) => {
                self.machines(call, &subscription, group.as_ref())
            }
            Route::Machine(path) => self.machine(call, &path),
            Route::List => self.list(call).await,
            Route::Resource => self.resource(call).await,
            Route::Below(resource, below) => self.below(call, &resource, &below).await,
        }
    }
}

/// Refuses methods that are not served.
///
/// # Errors
///
/// `MethodNotAllowed` (405)
pub(crate) fn only(call: &Call, methods: &[&str]) -> Result<(), Refusal> {
    match methods.contains(&call.method.as_str()) {
        true => Ok(()),
        false => Err(Refusal::wrong_method(
            call.method.as_str(),
            &methods.join(", "),
        )),
    }
}

/// Tags of a body: an object of strings.
///
/// # Errors
///
/// `InvalidRequestContent`
pub(crate) fn read_tags(
    value: Option<&serde_json::Value>,
) -> Result<BTreeMap<String, String>, Refusal> {
    use serde_json::Value;
    let wrong = |why: String| {
        Refusal::bad(
            "InvalidRequestContent",
            format!("The body of the request is not valid: {why}."),
        )
    };
    let object = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(object)) => object,
        Some(other) => {
            return Err(wrong(format!(
                "tags is {}, and must be an object",
                body::noun(other)
            )));
        }
    };
    object
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name.clone(), text.clone())),
            other => Err(wrong(format!(
                "the tag '{}' is {}, and must be a string",
                name.chars().take(80).collect::<String>(),
                body::noun(other)
            ))),
        })
        .collect()
}
