//! PUT of a deployment.

use std::sync::Arc;

use axum::{Json, http::StatusCode, response::IntoResponse};
use vnet_gw_core::{
    arm::{Change, State, status_of},
    model::ArmError,
};

use super::{
    Answer, Api, Call, Refusal, Scope, WRITE,
    record::{self, Record},
};
use crate::{
    api::{changes::with_warnings, resources::until_carried},
    engine::{Noted, Submission, activity::ActivityStatus},
};

impl Api {
    pub(super) async fn put_deployment(&self, call: &Call, scope: &Scope, name: &str) -> Answer {
        let asked = self.asked(call, scope, name)?;
        let key = record::id(scope, name).to_ascii_lowercase();
        if self.operations.deployments.has(&key) {
            return Err(Refusal::from_error(ArmError::new(
                "DeploymentActive",
                format!("The deployment '{name}' is still running: wait until it has ended."),
            )));
        }
        let status = match self.record(scope, name) {
            Ok(_) => StatusCode::OK,
            Err(_) => StatusCode::CREATED,
        };
        let mut record = Record::new(call, scope, name, &asked);
        let state = self.engine.state();
        let deployed = match self.carried_out(call, asked.clone(), &state).await {
            Ok(deployed) => deployed,
            // What no deployment could be made of was not begun.
            Err(error) if is_of_the_template(&error) => return Err(Refusal::from_error(error)),
            Err(error) => return self.failed(call, scope, record, error, status).await,
        };
        record.came_to(&deployed);
        record.ended(Ok(()));
        let mut records = vec![record.write()?];
        records.extend(self.make_room(scope, &key)?);
        let changes = deployed.changes;
        let submitted = self
            .submit(call, changes.clone(), WRITE, &record.id, records)
            .await;
        let mut receipt = match submitted {
            Ok(receipt) => receipt,
            // Another change was faster, and this one does not hold any more.
            Err(refusal) if refusal.status.is_client_error() && refusal.status != 403 => {
                return self
                    .failed(call, scope, record, *refusal.error, status)
                    .await;
            }
            Err(refusal) => return Err(refusal),
        };
        let running = Json(record.shown_running()).into_response();
        let response = with_warnings((status, running).into_response(), &receipt.warnings);
        // What was made up for the set that was submitted is not what it was made up as before. An
        // address that others took meanwhile may stand in what was made of it: that is put right.
        // What outputs say is told once the data path carries all of it.
        let mut carried = State::clone(&receipt.state);
        carried.unsettled = Arc::default();
        if let Ok(again) = self.carried_out(call, asked, &Arc::new(carried)).await {
            if !puts(&again.changes).eq(puts(&changes)) {
                receipt = self
                    .submit(call, again.changes, WRITE, &record.id, Vec::new())
                    .await?;
            }
            record.outputs = again.outputs;
        }
        self.operations.deployments.begin(&key);
        let (engine, caller) = (self.engine.clone(), call.caller.clone());
        let deployments = Arc::clone(&self.operations.deployments);
        let work = async move {
            let outcome = until_carried(receipt.carried).await;
            record.ended(outcome.as_ref().copied());
            if let Ok(write) = record.write() {
                let last = Submission {
                    changes: Vec::new(),
                    caller,
                    operation: WRITE.to_owned(),
                    resource: record.id.clone(),
                    records: vec![write],
                    noted: Noted::Not,
                };
                if let Err(error) = engine.submit(last).await {
                    log::error!("api: the record of the deployment {}: {error}", record.id);
                }
            }
            deployments.end(&key);
            outcome.map(|()| None)
        };
        let begun = self.operations.begin(call, scope.subscription(), work);
        Ok(begun.operation(response))
    }

    /// Keeps that it failed. Nothing else was changed.
    async fn failed(
        &self,
        call: &Call,
        scope: &Scope,
        mut record: Record,
        error: ArmError,
        status: StatusCode,
    ) -> Answer {
        let message = "The deployment failed, and nothing was changed: a deployment is carried out \
                       as a whole or not at all. The details say why.";
        let mut failure = ArmError::new("DeploymentFailed", message);
        failure.details = vec![error];
        record.ended(Err(&failure));
        let running = Json(record.shown_running()).into_response();
        let mut records = vec![record.write()?];
        records.extend(self.make_room(scope, &record.key())?);
        let code = failure.details.first().map_or("", |error| &error.code);
        let noted = Noted::As(ActivityStatus::Refused, code.to_owned());
        self.submit_as(call, Vec::new(), WRITE, &record.id, records, noted)
            .await?;
        let work = async move { Err(failure) };
        let begun = self.operations.begin(call, scope.subscription(), work);
        Ok(begun.operation((status, running).into_response()))
    }
}

fn puts(changes: &[Change]) -> impl Iterator<Item = &Change> {
    let all = changes.iter();
    all.filter(|change| matches!(change, Change::Put(_)))
}

/// Whether the request itself is wrong, rather than what it would make of the resources.
fn is_of_the_template(error: &ArmError) -> bool {
    const OF_THE_TEMPLATE: [&str; 5] = [
        "InvalidTemplate",
        "InvalidDeployment",
        "InvalidDeploymentParameters",
        "InvalidRequestContent",
        "InternalServerError",
    ];
    OF_THE_TEMPLATE.contains(&error.code.as_str()) || status_of(error) == 403
}
