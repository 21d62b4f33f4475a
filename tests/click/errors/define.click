define(x 5, $a 1, $a 2, $ 4); define $b 3;
