require(package "rbops", compact_config);
x :: Idle
