ExecStart=click --dpdk -l 1,2 -n 4 -- -C /var/lib/rbops/click:/etc/rbops/click: -u /run/rbops-click/control /etc/rbops/click/router.click $PARAMETERS
