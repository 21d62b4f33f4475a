ExecStart=click -j 1 --affinity=0 -R -C /var/lib/rbops/click:/etc/rbops/click: -u /run/rbops-click/control /etc/rbops/click/router.click $PARAMETERS
