Feature: Rolling denial
  A rolling limit is an exact sliding log: each reservation expires one window after it was made, not at a round minute.
  Until then a call that does not fit is denied, and told when to retry with a new lease.

  Scenario: A call that does not fit is denied and leaves no trace
    Given the limits:
      | limit      | kind    | capacity | held for |
      | gpt-4o:tpm | rolling | 60000    | 60 s     |
    And call 1 holds 58000 of gpt-4o:tpm
    When call 2 reserves 2001 of gpt-4o:tpm
    Then call 2 is denied: gpt-4o:tpm has no room
    And the limits show:
      | limit      | available | reserved |
      | gpt-4o:tpm | 2000      | 58000    |
    When call 3 reserves 2000 of gpt-4o:tpm
    Then call 3 is granted
    And the limits show:
      | limit      | available | reserved |
      | gpt-4o:tpm | 0         | 60000    |

  Scenario: Each reservation expires one window after it was made
    Given the limits:
      | limit      | kind    | capacity | held for |
      | gpt-4o:tpm | rolling | 100      | 3 s      |
    And call 1 holds 60 of gpt-4o:tpm
    When 1 s passes
    And call 2 reserves 40 of gpt-4o:tpm
    And call 3 reserves 1 of gpt-4o:tpm
    Then call 2 is granted
    But call 3 is denied: gpt-4o:tpm has no room
    When 2 s pass
    And call 4 reserves 61 of gpt-4o:tpm
    And call 5 reserves 60 of gpt-4o:tpm
    Then call 4 is denied: gpt-4o:tpm has no room
    But call 5 is granted

  Scenario: A completed call counts until the end of its window
    Given the limits:
      | limit      | kind    | capacity | held for |
      | gpt-4o:rpm | rolling | 1        | 1 s      |
    And call 1 holds 1 of gpt-4o:rpm
    When call 1 completes
    And call 2 reserves 1 of gpt-4o:rpm
    Then call 2 is denied: gpt-4o:rpm has no room
    When 1 s passes
    And call 3 reserves 1 of gpt-4o:rpm
    Then call 3 is granted

  Scenario: A denied lease stays denied when capacity is available again
    Given the limits:
      | limit      | kind    | capacity | held for |
      | gpt-4o:rpm | rolling | 1        | 1 s      |
    And call 1 holds 1 of gpt-4o:rpm
    When call 2 reserves 1 of gpt-4o:rpm
    Then call 2 is denied: gpt-4o:rpm has no room
    When 1 s passes
    And call 2 reserves 1 of gpt-4o:rpm
    Then call 2 is denied: gpt-4o:rpm has no room
    And the limits show:
      | limit      | available | reserved |
      | gpt-4o:rpm | 1         | 0        |
    When call 3 reserves 1 of gpt-4o:rpm
    Then call 3 is granted

  Scenario: Where nobody knows when a slot will be free, each further denial in a row has a longer hint
    Given the limits:
      | limit              | kind        | capacity | held for |
      | gpt-4o:concurrency | concurrency | 100      | 60 s     |
    And call 1 holds 90 of gpt-4o:concurrency
    When call 2 reserves 20 of gpt-4o:concurrency
    Then call 2 is told to retry after 50 to 75 ms
    When call 3 reserves 20 of gpt-4o:concurrency
    Then call 3 is told to retry after 100 to 125 ms
    When call 4 reserves 10 of gpt-4o:concurrency
    And call 5 reserves 20 of gpt-4o:concurrency
    Then call 4 is granted
    And call 5 is told to retry after 50 to 75 ms

  Scenario: An amount over the capacity has its own denial
    Given the limits:
      | limit      | kind    | capacity | held for |
      | gpt-4o:tpm | rolling | 100      | 60 s     |
    When call 1 reserves 101 of gpt-4o:tpm
    Then call 1 is denied: the amount exceeds the capacity of gpt-4o:tpm
