//! Walks over syntax trees, each compiled once.
//!
//! sqlparser's `visit` is generic over the visitor, and every visitor makes the compiler translate the walk over
//! all kinds of nodes anew: with a dozen visitors that was half of this crate's code. Here the tree is visited by
//! one type, which hands each node on to the visitor it holds behind a `dyn`.
//!
//! **Invariant.** A visitor meets the same nodes in the same order as under sqlparser's own `visit`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut,
};

/// `node.visit(visitor)`.
pub(crate) fn walk<V: Visitor>(node: &impl Visit, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut kept = Kept {
        visitor,
        reason: None,
    };
    let _ = node.visit(&mut Shared(&mut kept));
    kept.outcome()
}

/// `node.visit(visitor)`, for visitors that change nodes.
pub(crate) fn walk_mut<V: VisitorMut>(node: &mut impl VisitMut, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut kept = Kept {
        visitor,
        reason: None,
    };
    let _ = node.visit(&mut Exclusive(&mut kept));
    kept.outcome()
}

/// A visitor, and why it broke off.
struct Kept<'v, V, B> {
    visitor: &'v mut V,
    reason: Option<B>,
}

impl<V, B> Kept<'_, V, B> {
    fn keep(&mut self, flow: ControlFlow<B>) -> ControlFlow<()> {
        match flow {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(reason) => {
                self.reason = Some(reason);
                ControlFlow::Break(())
            }
        }
    }

    fn outcome(self) -> ControlFlow<B> {
        match self.reason {
            Some(reason) => ControlFlow::Break(reason),
            None => ControlFlow::Continue(()),
        }
    }
}

/// The same methods three times: what a `dyn` offers, how a visitor answers, and the one visitor that asks it.
macro_rules! hooks {
    ($visitor:ident, $hooks:ident, $asking:ident, $($method:ident: $node:ty,)*) => {
        trait $hooks {
            $(fn $method(&mut self, node: $node) -> ControlFlow<()>;)*
        }

        impl<V: $visitor> $hooks for Kept<'_, V, V::Break> {
            $(fn $method(&mut self, node: $node) -> ControlFlow<()> {
                let flow = self.visitor.$method(node);
                self.keep(flow)
            })*
        }

        struct $asking<'k>(&'k mut dyn $hooks);

        impl $visitor for $asking<'_> {
            type Break = ();

            $(fn $method(&mut self, node: $node) -> ControlFlow<()> {
                self.0.$method(node)
            })*
        }
    };
}

macro_rules! all_hooks {
    ($visitor:ident, $hooks:ident, $asking:ident, [$($reference:tt)+]) => {
        hooks! {
            $visitor, $hooks, $asking,
            pre_visit_query: $($reference)+ Query,
            post_visit_query: $($reference)+ Query,
            pre_visit_select: $($reference)+ Select,
            post_visit_select: $($reference)+ Select,
            pre_visit_relation: $($reference)+ ObjectName,
            post_visit_relation: $($reference)+ ObjectName,
            pre_visit_table_factor: $($reference)+ TableFactor,
            post_visit_table_factor: $($reference)+ TableFactor,
            pre_visit_expr: $($reference)+ Expr,
            post_visit_expr: $($reference)+ Expr,
            pre_visit_statement: $($reference)+ Statement,
            post_visit_statement: $($reference)+ Statement,
            pre_visit_value: $($reference)+ ValueWithSpan,
            post_visit_value: $($reference)+ ValueWithSpan,
        }
    };
}

all_hooks!(Visitor, Hooks, Shared, [&]);
all_hooks!(VisitorMut, HooksMut, Exclusive, [&mut]);
