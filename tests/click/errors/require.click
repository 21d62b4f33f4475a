require(package a b c, compact_config); require x;
elementclass E { require(library x) }
require(library nowhere.click)
