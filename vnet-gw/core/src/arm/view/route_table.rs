//! routeTables and routes.

use super::{View, written::Properties};
use crate::model::Kind;

impl View<'_> {
    pub(super) fn route_table(&self, properties: &mut Properties) {
        self.children(Kind::Route, properties);
        properties.default("disableBgpRoutePropagation", false);
        let index = self.state.references.of(&self.state.topology);
        let subnets = index.with_route_table(&self.document.id);
        properties.back_references("subnets", subnets.iter().map(ToString::to_string));
    }
}
