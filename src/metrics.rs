//! Metrics: a struct of handles per part, registered once.
