ExecStart=click-install -C /var/lib/rbops/click:/etc/rbops/click: -j 2 --cpu 1 /etc/rbops/click/router.click $PARAMETERS
