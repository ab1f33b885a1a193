//! routeTables and routes.

use super::{View, written::Properties};
use crate::model::Kind;

impl View<'_> {
    pub(super) fn route_table(&self, properties: &mut Properties) {
        self.children(Kind::Route, properties);
        properties.default("disableBgpRoutePropagation", false);
        let references = &self.state.references;
        let subnets = references.with_route_table(&self.state.topology, &self.document.id);
        properties.back_references("subnets", subnets);
    }
}
