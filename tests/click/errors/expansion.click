define($a0 0123456789, $a1 "$a0$a0$a0$a0$a0$a0$a0$a0$a0$a0", $a2 "$a1$a1$a1$a1$a1$a1$a1$a1$a1$a1",
$a3 "$a2$a2$a2$a2$a2$a2$a2$a2$a2$a2", $a4 "$a3$a3$a3$a3$a3$a3$a3$a3$a3$a3", $a5 "$a4$a4$a4$a4$a4$a4$a4$a4$a4$a4",
$a6 "$a5$a5$a5$a5$a5$a5$a5$a5$a5$a5")
Idle($a6);
