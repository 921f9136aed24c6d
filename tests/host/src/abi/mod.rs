pub(crate) mod pairs;
