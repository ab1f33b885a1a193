//! The audit log, in the shape of Azure Monitor's activity log.

use std::time::{Duration, SystemTime};

use axum::{Json, response::IntoResponse};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{Answer, Api, Call, Refusal, lists::Page, lists::numbered, only};
use crate::{
    engine::activity::{self, Activity, ActivityFilter, ActivityStatus},
    identity::Permission,
};

/// How far back the log goes where the client does not say: as Azure's.
const BACK: Duration = Duration::from_secs(90 * 24 * 3600);
/// The most that one question reads.
const MOST: usize = 10_000;

impl Api {
    pub(super) async fn activity(&self, call: &Call, subscription: &str) -> Answer {
        only(call, &["GET"])?;
        let page = Page::of(call)?;
        self.must_know(&self.engine.state(), subscription)?;
        let wanted = Wanted::parse(call.query.get("$filter").unwrap_or_default(), subscription)?;
        let store = std::sync::Arc::clone(self.engine.store());
        let filter = wanted.filter.clone();
        let read = spawn_blocking(move || activity::read(&*store, &filter)).await;
        let records = match read {
            Ok(Ok(records)) => records,
            Ok(Err(error)) => return Err(crate::engine::EngineError::Store(error.into()).into()),
            Err(_) => return Err(Refusal::ending()),
        };
        let rows: Vec<Value> = records
            .iter()
            .filter(|record| call.access.allows(Permission::Read, &record.resource_id))
            .filter(|record| wanted.takes(record))
            .map(shown)
            .collect();
        Ok(Json(page.take(call, numbered(rows), Some)).into_response())
    }
}

/// What `$filter` asks for.
struct Wanted {
    filter: ActivityFilter,
    until: Option<String>,
    correlation: Option<String>,
    operation: Option<String>,
    status: Option<String>,
}

impl Wanted {
    /// `eventTimestamp ge '…' and eventTimestamp le '…' and resourceGroupName eq 'rg'`, or
    /// `resourceUri`, `correlationId`, `caller`, `operations`, `status`.
    fn parse(text: &str, subscription: &str) -> Result<Self, Refusal> {
        let wrong = |part: &str| {
            Refusal::bad(
                "InvalidFilterInQueryString",
                format!(
                    "'{}' of the $filter is not read here: write PROPERTY eq 'VALUE' [and …], with \
                     eventTimestamp (ge, le), resourceGroupName, resourceUri, resourceId, \
                     correlationId, caller, operations or status.",
                    part.chars().take(200).collect::<String>()
                ),
            )
        };
        let mut wanted = Self {
            filter: ActivityFilter {
                since: SystemTime::now().checked_sub(BACK),
                resource: Some(format!("/subscriptions/{subscription}")),
                caller: None,
                most: MOST,
            },
            until: None,
            correlation: None,
            operation: None,
            status: None,
        };
        let lower = text.to_ascii_lowercase();
        let mut rest = text;
        let mut rest_lower = lower.as_str();
        while !rest.trim().is_empty() {
            let end = rest_lower.find(" and ").unwrap_or(rest.len());
            let part = rest[..end].trim();
            let after = (end + " and ".len()).min(rest.len());
            (rest, rest_lower) = (&rest[after..], &rest_lower[after..]);
            let mut words = part.splitn(3, char::is_whitespace);
            let (Some(name), Some(operator), Some(value)) =
                (words.next(), words.next(), words.next())
            else {
                return Err(wrong(part));
            };
            let value = value.trim().trim_matches('\'').to_owned();
            let word = (name.to_ascii_lowercase(), operator.to_ascii_lowercase());
            match (word.0.as_str(), word.1.as_str()) {
                ("eventtimestamp", "ge" | "gt") => {
                    wanted.filter.since = Some(moment(&value).ok_or_else(|| wrong(part))?);
                }
                ("eventtimestamp", "le" | "lt") => {
                    let until = moment(&value).ok_or_else(|| wrong(part))?;
                    wanted.until = Some(humantime::format_rfc3339_millis(until).to_string());
                }
                ("resourcegroupname", "eq") => {
                    wanted.filter.resource = Some(format!(
                        "/subscriptions/{subscription}/resourceGroups/{value}"
                    ));
                }
                ("resourceuri" | "resourceid", "eq") => wanted.filter.resource = Some(value),
                ("correlationid", "eq") => wanted.correlation = Some(value),
                ("caller", "eq") => wanted.filter.caller = Some(value),
                ("operations" | "operationname", "eq") => wanted.operation = Some(value),
                ("status", "eq") => wanted.status = Some(value),
                // All of them are of this one, and administrative.
                ("resourceprovider" | "channels" | "eventchannels" | "levels", "eq") => {}
                _ => return Err(wrong(part)),
            }
        }
        Ok(wanted)
    }

    fn takes(&self, record: &Activity) -> bool {
        let same = |wanted: &Option<String>, is: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(is))
        };
        // RFC 3339 in UTC sorts as time does.
        self.until
            .as_ref()
            .is_none_or(|until| record.event_timestamp <= *until)
            && same(&self.correlation, &record.correlation_id)
            && same(&self.operation, &record.operation_name)
            && same(&self.status, status(record.status))
    }
}

/// `2026-01-31T10:00:00Z`, with or without a fraction, or an offset of nothing.
fn moment(text: &str) -> Option<SystemTime> {
    let plain = text.strip_suffix("+00:00").unwrap_or(text);
    let zoned = match plain.ends_with(['Z', 'z']) {
        true => plain.to_owned(),
        false => format!("{plain}Z"),
    };
    humantime::parse_rfc3339_weak(&zoned).ok()
}

const fn status(status: ActivityStatus) -> &'static str {
    match status {
        ActivityStatus::Accepted => "Succeeded",
        ActivityStatus::Refused | ActivityStatus::Failed => "Failed",
    }
}

fn shown(record: &Activity) -> Value {
    let id = &record.resource_id;
    let segment = |at: usize| id.split('/').nth(at).unwrap_or_default();
    let text = |value: &str| json!({ "value": value, "localizedValue": value });
    let level = match record.status {
        ActivityStatus::Accepted => "Informational",
        ActivityStatus::Refused | ActivityStatus::Failed => "Error",
    };
    let mut event = json!({
        "authorization": { "action": record.operation_name, "scope": id },
        "caller": record.caller,
        "category": text("Administrative"),
        "channels": "Operation",
        "claims": { "appid": record.caller_id },
        "correlationId": record.correlation_id,
        "description": "",
        "eventDataId": format!("{}/{}", record.event_timestamp, record.correlation_id),
        "eventName": text("EndRequest"),
        "eventTimestamp": record.event_timestamp,
        "httpRequest": { "clientRequestId": record.correlation_id },
        "id": format!("{id}/events/{}", record.correlation_id),
        "level": level,
        "operationId": record.correlation_id,
        "operationName": text(&record.operation_name),
        "resourceGroupName": segment(4),
        "resourceId": id,
        "resourceProviderName": text(record.operation_name.split('/').next().unwrap_or_default()),
        "status": text(status(record.status)),
        "subStatus": text(&record.sub_status),
        "submissionTimestamp": record.event_timestamp,
        "subscriptionId": segment(2),
    });
    if let Some(address) = &record.caller_ip_address {
        event["httpRequest"]["clientIpAddress"] = address.as_str().into();
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_az_asks_for_is_read() {
        let text = "eventTimestamp ge 2026-01-01T00:00:00Z and eventTimestamp le \
                    2026-01-02T00:00:00.5Z and resourceGroupName eq 'rg' and caller eq 'a'";
        let wanted = Wanted::parse(text, "S").unwrap();
        assert_eq!(
            wanted.filter.resource.as_deref(),
            Some("/subscriptions/S/resourceGroups/rg")
        );
        assert_eq!(wanted.until.as_deref(), Some("2026-01-02T00:00:00.500Z"));
        assert_eq!(wanted.filter.caller.as_deref(), Some("a"));
        assert!(Wanted::parse("", "S").is_ok());
        for text in [
            "x",
            "caller eq",
            "caller ne 'a'",
            "eventTimestamp ge 'x'",
            "é and é",
        ] {
            assert!(Wanted::parse(text, "S").is_err(), "{text}");
        }
    }
}
