//! What is kept below a network watcher by name, and is the daemon's loop's to run: packet captures
//! and connection monitors. A type is written as Azure does, such as
//! `Microsoft.Network/networkWatchers/packetCaptures`.

use axum::{Json, response::IntoResponse};
use serde_json::Value;
use vnet_gw_core::{arm::Target, model::ResourceId};

use crate::{
    api::{Answer, Call, Refusal, lists::Page, only},
    control::{CaptureRow, MonitorRow},
    identity::Permission,
};

/// Longest name.
const NAME: usize = 80;

/// As the loop tells of one.
pub(super) trait Row {
    fn id(&self) -> &str;
}

impl Row for CaptureRow {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Row for MonitorRow {
    fn id(&self) -> &str {
        &self.id
    }
}

fn segment(kind: &str) -> &str {
    kind.rsplit('/').next().unwrap_or(kind)
}

/// The one that the path names, as it was written.
pub(super) fn id(call: &Call, watcher: &Target, kind: &str) -> ResourceId {
    let name = call.path.segments().get(9).copied().unwrap_or_default();
    ResourceId::new(&format!("{}/{}/{name}", watcher.id, segment(kind)))
}

/// # Errors
///
/// `InvalidResourceName`.
pub(super) fn name_must_fit(id: &ResourceId) -> Result<(), Refusal> {
    let name = id.name();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() <= NAME && name.chars().all(fine) {
        return Ok(());
    }
    Err(Refusal::bad(
        "InvalidResourceName",
        format!(
            "Resource name {} is invalid. The name can have up to {NAME} letters, digits, '-', '_' \
             and '.'.",
            name.chars().take(NAME).collect::<String>()
        ),
    ))
}

/// Which page of a list, for whoever may see it.
pub(super) fn page(call: &Call, watcher: &Target, kind: &str) -> Result<Page, Refusal> {
    only(call, &["GET"])?;
    call.allow(
        Permission::Read,
        &format!("{kind}/read"),
        watcher.id.as_str(),
    )?;
    Page::of(call)
}

/// That page of them.
pub(super) fn listed<R: Row>(
    call: &Call,
    page: &Page,
    rows: Vec<R>,
    shown: impl Fn(&R) -> Value,
) -> Answer {
    let value = page.take(call, ordered(rows).into_iter(), |one| Some(shown(&one)));
    Ok(Json(value).into_response())
}

/// By id without case, which is what pages go by.
fn ordered<R: Row>(rows: Vec<R>) -> Vec<(String, R)> {
    let keyed = rows.into_iter().map(|row| (row.id().to_lowercase(), row));
    let mut keyed: Vec<_> = keyed.collect();
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    keyed
}

/// Of all rows, those of a watcher.
pub(super) fn below<R: Row>(rows: Vec<R>, watcher: &Target, kind: &str) -> Vec<R> {
    let below = format!("{}/{}/", watcher.id.key(), segment(kind).to_lowercase());
    let mut rows = rows;
    rows.retain(|one| one.id().to_lowercase().starts_with(&below));
    rows
}

/// # Errors
///
/// `NotFound`.
pub(super) fn find<R: Row>(rows: Vec<R>, id: &ResourceId) -> Result<R, Refusal> {
    let mut rows = rows.into_iter();
    rows.find(|one| ResourceId::new(one.id()) == *id)
        .ok_or_else(|| Refusal::missing("NotFound", format!("Resource {id} not found.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);

    impl Row for Named {
        fn id(&self) -> &str {
            self.0
        }
    }

    #[test]
    fn lists_are_in_the_order_that_pages_go_by() {
        let keys = ordered(vec![Named("W/B"), Named("W/a"), Named("W/C")]);
        let keys: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["w/a", "w/b", "w/c"]);
    }

    #[test]
    fn names_are_azures() {
        for (name, fits) in [
            ("a-b_c.1".to_owned(), true),
            ("a".repeat(80), true),
            ("a".repeat(81), false),
            ("a b".to_owned(), false),
        ] {
            let id = ResourceId::new(&format!("/subscriptions/s/{name}"));
            assert_eq!(name_must_fit(&id).is_ok(), fits, "{name}");
        }
    }
}
