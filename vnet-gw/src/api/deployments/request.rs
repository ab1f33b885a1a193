//! What a client asks to be deployed.

use std::{sync::Arc, time::SystemTime};

use serde_json::{Map, Value};
use tokio::sync::oneshot;
use uuid::Uuid;
use vnet_gw_core::{
    arm::{
        Origin, State,
        deployment::{Deployed, Mode, Request, ResultFormat, execute},
    },
    model::{ArmError, DeployOptions, parse_relaxed_json},
};

use super::{Api, Call, Refusal, Scope};
use crate::{api::body, identity::Permission};

/// What a deployment's expressions may have of the stack.
const STACK: usize = 32 << 20;

/// A request's body, read.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) template: Arc<Value>,
    /// May have keys in it.
    parameters: Arc<Value>,
    pub(super) mode: Mode,
    pub(super) options: DeployOptions,
    pub(super) format: ResultFormat,
    /// Of a deployment to a subscription.
    pub(super) location: Option<String>,
}

/// Azure's rule for names of deployments.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.()".contains(c);
    match (1..=64).contains(&name.len()) && name.chars().all(allowed) && !name.ends_with('.') {
        true => Ok(()),
        false => Err(Refusal::bad(
            "InvalidDeploymentName",
            "The name of a deployment has 1 to 64 letters, digits, '-', '_', '.', '(' and ')', and \
             no '.' at its end.",
        )),
    }
}

/// A field by its name, which compares without case; null is absent.
pub(super) fn field<'m>(fields: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    fields
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .filter(|value| !value.is_null())
}

impl Api {
    /// Reads the body, which `az` does not send as JSON.
    pub(super) fn asked(&self, call: &Call, scope: &Scope, name: &str) -> Result<Asked, Refusal> {
        let wrong = |why: &str| {
            Refusal::bad(
                "InvalidRequestContent",
                format!("The body of the request is not valid: {why}."),
            )
        };
        body::must_be_json(&call.headers)?;
        body::check_depth(&call.body)?;
        let text = std::str::from_utf8(&call.body).map_err(|_| wrong("it is not UTF-8"))?;
        let read = parse_relaxed_json(text)?;
        let fields = read.as_object().ok_or_else(|| wrong("it is no object"))?;
        let properties = field(fields, "properties").and_then(Value::as_object);
        let properties = properties.ok_or_else(|| wrong("it has no properties"))?;
        for (name, what) in [
            ("templateLink", "A linked template"),
            ("parametersLink", "A link to parameters"),
        ] {
            if field(properties, name).is_some() {
                return Err(Refusal::from_error(
                    ArmError::new(
                        "NotSupported",
                        format!("{what} cannot be fetched from here: send what it leads to."),
                    )
                    .at(format!("properties.{name}")),
                ));
            }
        }
        let template = field(properties, "template");
        let template = template.ok_or_else(|| wrong("its properties have no template"))?;
        let mode = match field(properties, "mode") {
            None => Mode::default(),
            Some(mode) => Mode::parse(mode.as_str().unwrap_or_default())?,
        };
        if mode == Mode::Complete && scope.group().is_none() {
            return Err(Refusal::bad(
                "InvalidDeployment",
                "A deployment to a subscription is Incremental.",
            ));
        }
        let location = field(fields, "location").and_then(Value::as_str);
        if location.is_none() && scope.group().is_none() {
            return Err(Refusal::bad(
                "LocationRequired",
                "A deployment to a subscription needs a location, as \"local\".",
            ));
        }
        let format = field(properties, "whatIfSettings")
            .and_then(|settings| settings.get("resultFormat")?.as_str())
            .is_some_and(|format| format.eq_ignore_ascii_case("ResourceIdOnly"));
        let (subscription_id, resource_group) = Asked::scope_options(scope);
        Ok(Asked {
            template: Arc::new(template.clone()),
            parameters: Arc::new(field(properties, "parameters").cloned().unwrap_or_default()),
            mode,
            options: DeployOptions {
                subscription_id,
                resource_group,
                location: location.unwrap_or(&self.settings.location).to_owned(),
                deployment: name.to_owned(),
                tenant_id: self.settings.tenant.clone(),
                now: Some(SystemTime::now()),
                random: Some(*Uuid::new_v4().as_bytes()),
                most_work: DeployOptions::REQUEST_WORK,
                ..DeployOptions::default()
            },
            format: match format {
                true => ResultFormat::ResourceIdOnly,
                false => ResultFormat::FullResourcePayloads,
            },
            location: location.map(str::to_owned),
        })
    }

    /// What the deployment comes to, on a state. It may take its time, and none of the server's.
    pub(super) async fn carried_out(
        &self,
        call: &Call,
        asked: Asked,
        state: &Arc<State>,
    ) -> Result<Deployed, ArmError> {
        let _turn = self.operations.deployments.turn().await;
        let state = Arc::clone(state);
        let access = call.access.clone();
        let mut assign = self.engine.assign();
        let (answer, done) = oneshot::channel();
        let work = move || {
            let request = Request {
                template: &asked.template,
                parameters: &asked.parameters,
                options: asked.options,
                mode: asked.mode,
                origin: Origin::Api,
                may_read: &|id| access.allows(Permission::Read, id),
            };
            // Who asked may have gone.
            let _ = answer.send(execute(&request, &state, &mut assign));
        };
        // Expressions stand in one another, and need more of a stack than others.
        let thread = std::thread::Builder::new()
            .name("deployment".to_owned())
            .stack_size(STACK)
            .spawn(work);
        let failed = |error: &dyn std::fmt::Display| {
            log::error!("api: a deployment: {error}");
            Err(ArmError::new(
                "InternalServerError",
                "The deployment met a defect; the daemon's log says which. Nothing was changed.",
            ))
        };
        match thread {
            Ok(_) => done.await.unwrap_or_else(|error| failed(&error)),
            Err(error) => failed(&error),
        }
    }
}
